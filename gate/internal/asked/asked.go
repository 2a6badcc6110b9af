// Package asked says what a request asks of the API server, as the API server itself reads it, and refuses what could
// be read in two ways.
package asked

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// Factory reads requests as every Kubernetes API server does.
var factory = request.RequestInfoFactory{
	APIPrefixes:          sets.NewString("api", "apis"),
	GrouplessAPIPrefixes: sets.NewString("api"),
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

var connectionOptions = []string{"", "close", "keep-alive", "te", "upgrade"}

// A word of a path that is not a name: lower case everywhere in Kubernetes, so that an upper case one means nothing, or
// means the same to a server that forgives it.
var word = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$`)

// Request is what is asked, and of whom.
type Request struct {
	*request.RequestInfo
	Method string
	Query  url.Values
	raw    string
	// Upgrade is the protocol that the connection is to become: "websocket", "spdy/3.1" or "".
	Upgrade string
	// As are the identities that the command wants to borrow. None when the kubeconfig has one of its own.
	As []Identity
}

// Identity is what a header of impersonation asks for, in the terms in which Kubernetes authorizes it.
type Identity struct{ Group, Resource, Subresource, Namespace, Name string }

// Read returns what r asks for. An error is what makes it ambiguous; it must then not be sent anywhere.
func Read(r *http.Request, host string) (*Request, error) {
	if !slices.Contains(methods, r.Method) {
		return nil, fmt.Errorf("method %.20q", r.Method)
	}
	if r.Host != host {
		return nil, fmt.Errorf("Host is not %s", host)
	}
	path, err := decoded(r.RequestURI)
	if err != nil {
		return nil, err
	}
	if r.URL.Path != path || r.URL.Host != "" || r.URL.User != nil || r.URL.Opaque != "" {
		return nil, errors.New("the request target has more than a path and a query")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.New("the query cannot be parsed")
	}
	for name := range r.Header {
		if len(r.Header[name]) > 1 && (name == "Content-Type" || name == "Upgrade") {
			return nil, fmt.Errorf("%s is there more than once", name)
		}
	}
	info, err := info(r)
	if err != nil {
		return nil, err
	}
	upgrade, err := upgrade(r)
	if err != nil {
		return nil, err
	}
	return &Request{RequestInfo: info, Method: r.Method, Query: query, raw: r.URL.RawQuery, Upgrade: upgrade}, nil
}

func info(r *http.Request) (*request.RequestInfo, error) {
	info, err := factory.NewRequestInfo(r)
	if err != nil {
		return nil, errors.New("neither a resource nor anything else")
	}
	if !info.IsResourceRequest {
		return info, nil
	}
	for _, part := range []string{info.APIGroup, info.APIVersion, info.Namespace, info.Resource, info.Subresource} {
		if !word.MatchString(part) {
			return nil, fmt.Errorf("%.70q is neither an API group, a version, a namespace nor a resource", part)
		}
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if info.Verb == "proxy" || (info.Verb == "watch" && !read) {
		return nil, errors.New("a form of path that Kubernetes has given up")
	}
	return info, nil
}

// upgrade lets through the two protocols of exec, attach, port-forward and watch. Over any other, such as HTTP/2, the
// command would speak to the server past the gate.
func upgrade(r *http.Request) (string, error) {
	protocol := strings.ToLower(r.Header.Get("Upgrade"))
	named := false
	for _, line := range r.Header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			option = strings.ToLower(strings.TrimSpace(option))
			named = named || option == "upgrade"
			if !slices.Contains(connectionOptions, option) {
				return "", fmt.Errorf("Connection names %.40q: a header must not be the gate's and not the server's", option)
			}
		}
	}
	if protocol == "" && !named {
		return "", nil
	}
	if !named || (protocol != "websocket" && protocol != "spdy/3.1") {
		return "", fmt.Errorf("an upgrade to %.20q", protocol)
	}
	return protocol, nil
}

// RawQuery is the query as it came, as long as every program takes it for the same: a service behind the API server may
// care for the order and the form of its parameters.
func (r *Request) RawQuery() string {
	for i := range len(r.raw) {
		if strings.IndexByte(plain+"%?", r.raw[i]) < 0 {
			return r.Query.Encode()
		}
	}
	return r.raw
}

// Object is the name that the path itself has. RequestInfo takes one from a field selector too.
func (r *Request) Object() string {
	if len(r.Parts) > 1 {
		return r.Parts[1]
	}
	return ""
}

// Exact says that the path ends where RequestInfo stopped reading: at the subresource.
func (r *Request) Exact() bool { return len(r.Parts) <= 3 }

// Changes says whether the request may change something.
func (r *Request) Changes() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// ResourceText is the resource as kubectl would name it: "deployments.apps/scale".
func (r *Request) ResourceText() string {
	text := r.Resource
	if r.APIGroup != "" {
		text += "." + r.APIGroup
	}
	if r.Subresource != "" {
		text += "/" + r.Subresource
	}
	return text
}

// String is the request for messages: `patch deployments.apps "web" in namespace "shop"`.
func (r *Request) String() string {
	if !r.IsResourceRequest {
		return fmt.Sprintf("%s %.200q", r.Verb, r.Path)
	}
	text := r.Verb + " " + r.ResourceText()
	if name := r.Object(); name != "" {
		text += fmt.Sprintf(" %.253q", name)
	}
	if r.Namespace != "" && r.Resource != "namespaces" {
		text += fmt.Sprintf(" in namespace %q", r.Namespace)
	}
	return text
}
