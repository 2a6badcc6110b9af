package upstream

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func of(t *testing.T, cluster, user string) (*Upstream, error) {
	t.Helper()
	known, err := Parse(fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": {%s}}],
	 "users": [{"name": "u", "user": {%s}}], "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u"}}]}`, cluster, user))
	if err != nil {
		t.Fatal(err)
	}
	return known.Of("it")
}

// server answers with the protocol and who asks.
func server(t *testing.T, http2 bool) (*httptest.Server, string) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.Header.Get("Authorization"), r.Header.Get("Impersonate-User"))
	}))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server, fmt.Sprintf(`"server": "%s/k8s/clusters/c-dev/", "certificate-authority-data": %q`, server.URL, base64.StdEncoding.EncodeToString(block))
}

func asks(t *testing.T, way http.RoundTripper, url string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := way.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := make([]byte, 1000)
	n, _ := response.Body.Read(body)
	return string(body[:n])
}

func TestOrdinaryRequestsUseWhatTheServerHasAndUpgradesHTTP1(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		at, cluster := server(t, http2)
		made, err := of(t, cluster, `"token": "x", "as": "viewer"`)
		if err != nil {
			t.Fatal(err)
		}
		if made.Base.Path != "/k8s/clusters/c-dev" || !made.OwnIdentity {
			t.Errorf("%+v", made)
		}
		want := "HTTP/1.1 Bearer x viewer"
		if got := asks(t, made.Upgrades, at.URL); got != want {
			t.Errorf("an upgrade: %q", got)
		}
		if http2 {
			want = "HTTP/2.0 Bearer x viewer"
		}
		if got := asks(t, made.Transport, at.URL); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestAnotherAuthorityIsNotBelieved(t *testing.T) {
	at, _ := server(t, true)
	made, err := of(t, fmt.Sprintf(`"server": %q`, at.URL), `"token": "x"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []http.RoundTripper{made.Transport, made.Upgrades} {
		request, _ := http.NewRequest(http.MethodGet, at.URL, nil)
		if _, err := way.RoundTrip(request); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v", err)
		}
	}
}

func TestEveryKindOfIdentityIsTheKubeconfigsOwn(t *testing.T) {
	for user, want := range map[string]bool{
		`"token": "x"`: false, `"as": "a"`: true, `"as": "a", "as-groups": ["g"]`: true, `"as": "a", "as-uid": "1"`: true,
		`"as": "a", "as-user-extra": {"k": ["v"]}`: true,
	} {
		made, err := of(t, `"server": "https://a.example.com"`, user)
		if err != nil || made.OwnIdentity != want {
			t.Errorf("%s: %v %+v", user, err, made)
		}
	}
}

func TestAnAddressThatIsMoreThanAHostWithAPathIsRefused(t *testing.T) {
	for _, address := range []string{"https://a:b@a.example.com", "https://a.example.com/?x=1", "https://"} {
		if made, err := of(t, fmt.Sprintf(`"server": %q`, address), `"token": "x"`); err == nil {
			t.Errorf("%s is taken: %+v", address, made.Base)
		}
	}
}
