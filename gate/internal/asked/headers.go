package asked

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Beginnings of the names of headers that are not the command's to say: who it is, where it comes from, and which
// other request a gateway or a server behind it should take this one for.
var notTheCommands = []string{
	"authorization", "cookie", "proxy-", "x-remote-", "x-forwarded-", "forwarded", "via", "x-real-", "x-client-",
	"true-client-", "x-original-", "x-rewrite-", "x-http-method", "x-method-", "x-host", "x-auth-", "x-ssl-",
	"x-envoy-", "x-amzn-", "x-goog-", "x-ms-", "ssl-client-", "x-tls-", "x-api-key",
}

// Whatever else begins so is an ordinary user for Kubernetes.
var serviceAccount = regexp.MustCompile(`^system:serviceaccount:([a-z0-9][a-z0-9-]*):([a-z0-9][a-z0-9.-]*)$`)

const (
	impersonate   = "impersonate-"
	bearerAsProto = "base64url.bearer.authorization.k8s.io."
)

// Clean removes from header what is not the command's to say. With an identity of the kubeconfig's own the command may
// not ask for another one: Kubernetes' client would yield to it.
func Clean(header http.Header, ownIdentity bool) {
	for name := range header {
		// Some gateways make no difference between a dash and an underscore.
		plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		switch {
		case strings.HasPrefix(plain, impersonate) && (ownIdentity || strings.Contains(name, "_")):
			delete(header, name)
		case begins(plain, notTheCommands):
			delete(header, name)
		}
	}
	cleanProtocols(header)
}

func begins(name string, beginnings []string) bool {
	for _, beginning := range beginnings {
		if strings.HasPrefix(name, beginning) {
			return true
		}
	}
	return false
}

// cleanProtocols removes a bearer token that is disguised as a WebSocket protocol, which the API server accepts.
func cleanProtocols(header http.Header) {
	const name = "Sec-Websocket-Protocol"
	lines := header[name]
	var kept []string
	for _, line := range lines {
		for protocol := range strings.SplitSeq(line, ",") {
			if protocol = strings.TrimSpace(protocol); !strings.HasPrefix(strings.ToLower(protocol), bearerAsProto) {
				kept = append(kept, protocol)
			}
		}
	}
	delete(header, name)
	if len(kept) > 0 {
		header.Set(name, strings.Join(kept, ", "))
	}
}

// Identities returns what the headers of impersonation ask for.
// https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
func Identities(header http.Header) []Identity {
	var asked []Identity
	for name, values := range header {
		plain := strings.ToLower(name)
		if !strings.HasPrefix(plain, impersonate) {
			continue
		}
		for _, value := range values {
			asked = append(asked, identity(strings.TrimPrefix(plain, impersonate), value))
		}
	}
	return asked
}

func identity(kind, value string) Identity {
	const authentication = "authentication.k8s.io"
	switch {
	case kind == "user":
		if account := serviceAccount.FindStringSubmatch(value); account != nil {
			return Identity{Resource: "serviceaccounts", Namespace: account[1], Name: account[2]}
		}
		return Identity{Resource: "users", Name: value}
	case kind == "group":
		return Identity{Resource: "groups", Name: value}
	case kind == "uid":
		return Identity{Group: authentication, Resource: "uids", Name: value}
	default:
		key := strings.TrimPrefix(kind, "extra-")
		if decoded, err := url.PathUnescape(key); err == nil { // as the API server reads it
			key = decoded
		}
		return Identity{Group: authentication, Resource: "userextras", Subresource: key, Name: value}
	}
}
