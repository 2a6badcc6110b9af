package serve

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gate/internal/config"
)

func newReader(from io.Reader) *bufio.Reader { return bufio.NewReader(from) }

var ambiguous = []string{
	"/%2e%2e/c-prod/api", "/..%2f..%2fv3", "/%2f%2e%2e/c", `\..\`, "/../c-prod/api", "/./api", "/api/..", "/api/.",
	"/api/v1/../../c-prod", "/api/%2e%2e/", "/api/.%2e/v3", "/api/%2e./v3", "/api/v1/namespaces/%2e%2e/secrets",
	"/%2E%2E/x", "/..", "/.", "/%2e", "/...", "/.%20", "/..%20/x", "/%20./x", "//", "//evil/api", "/api//v1", "/api/v1//",
	"/api/v1/pods//", "/%2f", "/%2F%2F", "/api%2fv1%2fsecrets", "/api/v1%2fsecrets", "/api/v1/namespaces/a%2fsecrets",
	`/api\v1`, `/\api`, "/%5c", "/%5C..%5c", "/..%5c..%5cv3", "/api/v1/pods;x=1", "/api;/v1", "/..;/v3", "/%3b", "/..%3b/v3",
	"/%252e%252e/v3", "/%25", "/%25%32%65", "/api/v1/pods%00", "/%0d%0aHost:%20evil", "/%0a", "/%09x", "/%7f", "/%", "/%2",
	"/%zz", "/api/v1/pods%", "/%c0%ae%c0%ae/v3", "/%e0%80%ae", "/%ff", "/%ef%bc%8e%ef%bc%8e/v3", "/%ef%bc%8f", "/%e2%88%95",
	"/%ef%bc%bc", "/%e2%80%a6", "/%e2%80%a5/v3", "/%e2%80%ae", "/api/v1/pods%3fwatch=1", "/api/v1/secrets%23", "/api/v1/pods#x",
	"/api/v1/pods|x", "/api/v1/pods\"", "/api/v1/<x>", "/api/v1/{x}", "/api/v1/pods^", "/api/v1/`x`",
	"/API/v1/secrets", "/Api/v1/secrets", "/aPIs/apps/v1/deployments", "/APIS",
	"/api/v1/Secrets", "/api/V1/secrets", "/api/v1/SECRETS/x", "/api/v1/namespaces/A/secrets", "/api/v1/namespaces/a/Secrets",
	"/api/v1/namespaces/a/pods/x/Exec", "/api/v1/namespaces/a/pods/x/EXEC", "/apis/Apps/v1/deployments",
	"/apis/apps/v1/Deployments", "/api/v1/secrets_", "/api/v1/-secrets", "/api/v1/secrets.", "/api/v1/.secrets",
	"/api/v1/secrets%20", "/api/v1/%20secrets", "/api/v1/secr%C3%A9ts", "/api/v1/%EF%BD%93ecrets",
	"/api/v1/namespaces/a%20b/secrets", "/api/v1/proxy/namespaces/a/pods/x", "/api/v1/proxy/nodes/n", "/api/v1/proxy",
	"/api/v1/watch", "/apis/apps/v1/proxy/x/y", "/api/v1/pods?a=1;b=2", "/api/v1/pods?a=%zz", "/api/v1/pods?%",
	"http://127.0.0.1/api", "https://evil/api", "*", "api/v1/pods", "evil:443", "http:/api", "?x=1", "%2fapi",
}

func TestAnAmbiguousPathIsNeverSent(t *testing.T) {
	p := start(t, full(), "")
	for _, target := range ambiguous {
		for _, upgrade := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
			text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, p.address, upgrade)
			if code := p.raw(text).StatusCode; code != 400 {
				t.Errorf("%q is answered with %d", text, code)
			}
		}
	}
	if request, _ := p.last(); request != nil {
		t.Errorf("sent: %s", request.URL)
	}
}

func TestOnlyTheMethodsOfKubernetesAreSent(t *testing.T) {
	p := start(t, full(), "")
	for _, method := range []string{
		"TRACE", "CONNECT", "OPTIONS", "get", "Get", "PROPFIND", "TRACK", "PURGE", "LINK", "COPY", "SEARCH", "X",
		"MKCOL", "LOCK", "M-SEARCH", "DEBUG", "PRI", "QUERY",
	} {
		for _, target := range []string{"/api", "/api/v1/pods", "/../../c-prod", "*"} {
			text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, target, p.address)
			if code := p.raw(text).StatusCode; code != 400 && code != 505 {
				t.Errorf("%q is answered with %d", text, code)
			}
		}
	}
	if request, _ := p.last(); request != nil {
		t.Errorf("sent: %s %s", request.Method, request.URL)
	}
}

func TestOnlyItsOwnHostIsServed(t *testing.T) {
	p := start(t, full(), "")
	for _, host := range []string{"evil", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]", p.address + ".", "", "a@" + p.address} {
		text := fmt.Sprintf("GET /api HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		if code := p.raw(text).StatusCode; code != 400 {
			t.Errorf("%q is answered with %d", text, code)
		}
	}
	if code, _ := p.ask("GET", "/api", ""); code != 200 {
		t.Errorf("its own is answered with %d", code)
	}
}

func TestOnlyTheUpgradesOfKubernetesAreSent(t *testing.T) {
	p := start(t, full(), "")
	for _, headers := range []string{
		"Connection: Upgrade\r\nUpgrade: h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c", "Connection: Upgrade\r\nUpgrade: TLS/1.0",
		"Connection: Upgrade", "Upgrade: websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
		"Connection: Authorization", "Connection: close, Content-Type", "Connection: Impersonate-User",
		"Content-Type: a/b\r\nContent-Type: c/d",
	} {
		text := fmt.Sprintf("GET /api/v1/pods HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", p.address, headers)
		if code := p.raw(text).StatusCode; code != 400 {
			t.Errorf("%q is answered with %d", text, code)
		}
	}
	if request, _ := p.last(); request != nil {
		t.Errorf("sent: %v", request.Header)
	}
}

func TestWhatIsNotTheCommandsToSayIsDropped(t *testing.T) {
	p := start(t, full(), "")
	dropped := []string{
		"Authorization: Bearer mine", "authorization: Basic eA==", "Proxy-Authorization: x", "X-Remote-User: system:admin",
		"X-Remote-Group: system:masters", "X-Remote-Extra-Scopes: x", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-User: a",
		"X-Forwarded-Host: a", "X-Forwarded-Prefix: /a", "Forwarded: for=a", "Via: 1.1 a", "X-Real-Ip: 1.1.1.1",
		"X-Original-Url: /api/v1/secrets", "X-Rewrite-Url: /api/v1/secrets", "X-Http-Method-Override: DELETE",
		"X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "Cookie: R_SESS=token-x", "X-Auth-Request-User: a",
		"X_Remote_User: system:admin", "Impersonate_User: system:admin", "X-Ssl-Client-Cert: a", "X-Api-Auth: kept",
	}
	if code, _ := p.ask("GET", "/api", "", dropped...); code != 200 {
		t.Fatal(code)
	}
	request, _ := p.last()
	if got := request.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer the-token" {
		t.Errorf("Authorization is %q", got)
	}
	for _, line := range dropped {
		name, value, _ := strings.Cut(line, ": ")
		if request.Header.Get(name) == value && name != "X-Api-Auth" {
			t.Errorf("%s reached the server", name)
		}
		if _, ok := request.Header[name]; ok && strings.Contains(name, "_") {
			t.Errorf("%s reached the server", name)
		}
	}
	if request.Header.Get("X-Api-Auth") != "kept" {
		t.Error("a header that nobody knows is dropped")
	}
}

func TestABearerTokenInAWebSocketProtocolIsDropped(t *testing.T) {
	p := start(t, full(), "")
	p.ask("GET", "/api/v1/pods?watch=1", "", "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA")
	request, _ := p.last()
	if got := request.Header.Get("Sec-WebSocket-Protocol"); got != "v5.channel.k8s.io" {
		t.Errorf("%q", got)
	}
}

func TestTheIdentityOfTheKubeconfigStays(t *testing.T) {
	for _, access := range []config.Access{config.Full, config.ReadOnly, config.DryRun} {
		p := start(t, config.Rule{Access: access, Secrets: config.Open}, `, "as": "viewer"`)
		code, _ := p.ask("GET", "/api/v1/pods", "", "Impersonate-User: system:admin", "impersonate-group: system:masters",
			"Impersonate-Uid: 1", "Impersonate-Extra-Scopes: all")
		request, _ := p.last()
		if code != 200 || request.Header.Get("Impersonate-User") != "viewer" || request.Header["Impersonate-Group"] != nil ||
			request.Header["Impersonate-Uid"] != nil || request.Header["Impersonate-Extra-Scopes"] != nil {
			t.Errorf("%s: %d %v", access, code, request.Header)
		}
	}
}

func TestWithoutOneTheCommandsOwnWorksUnderTheSameRules(t *testing.T) {
	p := start(t, config.Rule{Access: config.ReadOnly, Secrets: config.Open}, "")
	code, _ := p.ask("GET", "/api/v1/pods", "", "Impersonate-User: jane", "Impersonate-Group: dev")
	request, _ := p.last()
	if code != 200 || request.Header.Get("Impersonate-User") != "jane" || request.Header.Get("Impersonate-Group") != "dev" {
		t.Errorf("%d %v", code, request.Header)
	}
	if code, _ = p.ask("DELETE", "/api/v1/namespaces/a/pods/x", "", "Impersonate-User: jane"); code != 403 {
		t.Errorf("a DELETE is answered with %d", code)
	}
}

func TestTheServersPathComesFirstAndNamesKeepTheirMeaning(t *testing.T) {
	p := start(t, full(), "")
	for target, want := range map[string]string{
		"/":      "/",
		"/api/":  "/api/",
		"/api?x": "/api",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node":     "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode":   "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/pr%C3%BCfer%201": "/apis/rbac.authorization.k8s.io/v1/clusterroles/pr%C3%BCfer%201",
		"/api/v1/%73ecrets":          "/api/v1/secrets",
		"/api/v1/namespaces/a/pods/": "/api/v1/namespaces/a/pods/",
		"/api/v1/namespaces/a/services/http:web:80/proxy/a+b,c=d/": "/api/v1/namespaces/a/services/http:web:80/proxy/a+b,c=d/",
	} {
		code, _ := p.ask("GET", target, "")
		request, _ := p.last()
		if code != 200 || request.URL.EscapedPath() != prefix+want || request.Host == p.address {
			t.Errorf("%s: %d, sent as %s to %s", target, code, request.RequestURI, request.Host)
		}
	}
	if code, _ := p.ask("GET", "/api/v1/namespaces/a/services/w/proxy/?b=2&a=1&flag&x=a+b%20c", ""); code != 200 {
		t.Fatal(code)
	}
	if request, _ := p.last(); request.URL.RawQuery != "b=2&a=1&flag&x=a+b%20c" {
		t.Errorf("the query is %q", request.URL.RawQuery)
	}
}

func TestARefusalIsAStatusThatNamesTheRule(t *testing.T) {
	settings := full()
	settings.Deny = []config.Entry{{
		Name: "team-a: deny[0]", Verbs: []string{"delete"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"},
	}}
	p := start(t, settings, "")
	code, body := p.ask("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web", "")
	want := `"message":"delete deployments.apps \"web\" in namespace \"shop\": team-a: deny[0] refuses it","reason":"Forbidden"`
	if code != 403 || !strings.Contains(body, want) || !strings.Contains(body, `"kind":"Status"`) {
		t.Errorf("%d %s", code, body)
	}
	if request, _ := p.last(); request != nil {
		t.Error("sent all the same")
	}
	if lines := p.requests(); len(lines) != 1 || lines[0].Refused != "team-a: deny[0]" || lines[0].Code != 403 {
		t.Errorf("%+v", lines)
	}
}

func TestACookieOfAGatewayIsNotTheCommands(t *testing.T) {
	p := start(t, full(), "")
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", "R_SESS=token") }
	response := p.raw(fmt.Sprintf("GET /api HTTP/1.1\r\nHost: %s\r\n\r\n", p.address))
	if response.Header["Set-Cookie"] != nil {
		t.Error("it got one")
	}
}
