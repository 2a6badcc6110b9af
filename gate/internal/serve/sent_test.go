package serve

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"gate/internal/asked"
	"gate/internal/config"
	"gate/internal/record"
	"gate/internal/rules"
	"gate/internal/upstream"
)

// sent is what would go to the server for a request in its bytes; nil when it is refused. nothing is connected.
func sent(t testing.TB, text string, access config.Access, own bool) *http.Request {
	t.Helper()
	given, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil // net/http answers with 400 by itself
	}
	base, err := url.Parse("https://rancher.example.com" + prefix)
	if err != nil {
		t.Fatal(err)
	}
	handler := &Handler{
		Host: "gate", Upstream: &upstream.Upstream{Base: base, OwnIdentity: own},
		Rules: rules.New(config.Rule{Access: access, Secrets: config.Open, Name: "r"}),
	}
	plan, refusal := handler.plan(given, &record.Request{})
	if refusal != nil {
		return nil
	}
	out := given.Clone(t.Context())
	handler.rewrite(out, plan)
	return out
}

// slowDecode is a second reader of percent encodings, which knows nothing of Go's.
func slowDecode(text string) string {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out = append(out, text[i])
			continue
		}
		out = append(out, byte(strings.Index("0123456789abcdef", strings.ToLower(text[i+1:i+2]))<<4|
			strings.Index("0123456789abcdef", strings.ToLower(text[i+2:i+3]))))
		i += 2
	}
	return string(out)
}

// unambiguous fails unless whoever reads the request line finds the same path there, under the server's own.
func unambiguous(t testing.TB, out *http.Request) {
	t.Helper()
	var wire bytes.Buffer
	out.Body = http.NoBody
	if err := out.Write(&wire); err != nil {
		t.Fatalf("%s cannot be sent: %v", out.URL, err)
	}
	line, _, _ := strings.Cut(wire.String(), "\r\n")
	words := strings.Split(line, " ")
	if len(words) != 3 {
		t.Fatalf("the request line is %q", line)
	}
	raw, _, _ := strings.Cut(words[1], "?")
	parsed, err := url.ParseRequestURI(words[1])
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	decoded := slowDecode(raw)
	if parsed.Path != decoded {
		t.Fatalf("%q is %q and %q", line, parsed.Path, decoded)
	}
	// Decoded once more, cleaned, folded: the same, and always under the server's path.
	for _, read := range []string{raw, decoded, slowDecodeMaybe(decoded), strings.ReplaceAll(decoded, `\`, "/")} {
		if clean := path.Clean(read); clean != prefix && !strings.HasPrefix(clean, prefix+"/") {
			t.Fatalf("%q leads to %q", line, clean)
		}
		if path.Clean(read) != strings.TrimSuffix(read, "/") {
			t.Fatalf("%q is another path when it is cleaned", line)
		}
	}
	if strings.ContainsAny(decoded, "\\;?#%\x00\r\n\t") || strings.Contains(decoded, "//") {
		t.Fatalf("%q has a separator", line)
	}
	if _, err := url.ParseQuery(parsed.RawQuery); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}

func slowDecodeMaybe(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

func cleanHeaders(t testing.TB, out *http.Request, own bool) {
	t.Helper()
	for name := range out.Header {
		plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		for _, forbidden := range []string{"authorization", "x-remote-", "proxy-", "x-forwarded-", "cookie"} {
			if strings.HasPrefix(plain, forbidden) {
				t.Fatalf("%q reaches the server", name)
			}
		}
		if own && strings.HasPrefix(plain, "impersonate-") {
			t.Fatalf("%q reaches the server", name)
		}
	}
}

var pieces = []string{
	"/", "/", "/", "api", "apis", "v1", "apps", "namespaces", "a", "pods", "secrets", "x", "exec", "proxy", "..", ".", "%2e", "%2E%2e",
	"%2f", "%5c", "\\", ";", "%3b", "//", "?", "%3f", "#", "%23", "%25", "%252e", "%00", "%0a", "%c0%ae", "%ef%bc%8f", "%e2%80%a5", "ü",
	"%C3%BC", "a b", "%20", "+", ":", "@", "&", "=", "dryRun=All", "watch=1", "*", "~", "%", "%zz", "\t", "c-prod", "k8s/clusters/c-prod",
}

func TestWhateverIsSentIsUnderTheServersPathForEveryReader(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 1))
	passed := 0
	for range 20_000 {
		target := "/"
		for range 1 + random.IntN(8) {
			target += pieces[random.IntN(len(pieces))]
		}
		for _, access := range []config.Access{config.Full, config.DryRun} {
			text := []string{"GET", "POST", "DELETE", "PATCH"}[random.IntN(4)] + " " + target + " HTTP/1.1\r\nHost: gate\r\n\r\n"
			if out := sent(t, text, access, false); out != nil {
				passed++
				unambiguous(t, out)
			}
		}
	}
	if passed < 500 {
		t.Errorf("only %d were sent: the test says nothing", passed)
	}
}

func FuzzRequest(f *testing.F) {
	for _, target := range append(ambiguous, "/api/v1/namespaces/a/pods/x?watch=1&a=b", "/apis/apps/v1/namespaces/a/deployments/x/scale") {
		f.Add("GET", target, "Accept", "application/json")
		f.Add("POST", target, "Connection: Upgrade\r\nUpgrade", "websocket")
	}
	for _, header := range []string{"Authorization", "X-Remote-User", "Impersonate-User", "impersonate_user", "Connection", "Host", "Transfer-Encoding", "Cookie"} {
		f.Add("PATCH", "/api/v1/namespaces/a/pods/x", header, "x")
	}
	f.Fuzz(func(t *testing.T, method, target, name, value string) {
		text := method + " " + target + " HTTP/1.1\r\nHost: gate\r\n" + name + ": " + value + "\r\n\r\n"
		for _, own := range []bool{false, true} {
			out := sent(t, text, config.Full, own)
			if out == nil {
				continue
			}
			cleanHeaders(t, out, own)
			unambiguous(t, out)
		}
	})
}

// FuzzIdentities: what the rules are asked about is what the server is told.
func FuzzIdentities(f *testing.F) {
	f.Add("Impersonate-User: jane\r\nImpersonate-Group: dev")
	f.Add("impersonate-extra-a%2fb: x\r\nImpersonate-Uid: 1")
	f.Add("Impersonate_User: jane\r\nIMPERSONATE-user: system:serviceaccount:a:b")
	f.Fuzz(func(t *testing.T, headers string) {
		out := sent(t, "GET /api HTTP/1.1\r\nHost: gate\r\n"+headers+"\r\n\r\n", config.Full, false)
		if out == nil {
			return
		}
		told := 0
		for name, values := range out.Header {
			if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "impersonate-") {
				told += len(values)
			}
		}
		if asks := asked.Identities(out.Header); len(asks) != told {
			t.Fatalf("%v: the rules know of %d, the server of %d", out.Header, len(asks), told)
		}
	})
}
