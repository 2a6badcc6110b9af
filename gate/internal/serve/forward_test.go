package serve

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gate/internal/config"
)

func masking() config.Rule {
	return config.Rule{Access: config.Full, Secrets: config.Masked}
}

func drying() config.Rule {
	return config.Rule{Access: config.DryRun, Secrets: config.Masked}
}

const secretsPath = "/api/v1/namespaces/a/secrets"

// answering makes the server answer with this.
func answering(p *place, code int, body string, headers ...string) {
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestEveryChangeOfADryRunIsSentDry(t *testing.T) {
	p := start(t, drying(), "")
	for _, line := range []string{
		"POST /api/v1/namespaces/a/pods", "PUT /api/v1/namespaces/a/pods/x?dryRun=", "PATCH /apis/apps/v1/namespaces/a/deployments/x?fieldManager=k",
		"DELETE /api/v1/namespaces/a/pods/x?dryRun=None", "DELETE /api/v1/namespaces/a/pods", "POST /api/v1/namespaces/a/pods/x/eviction",
	} {
		method, target, _ := strings.Cut(line, " ")
		if code, body := p.ask(method, target, `{"metadata":{"name":"x"}}`); code != 200 {
			t.Fatalf("%s: %d %s", line, code, body)
		}
		request, body := p.last()
		if request.URL.Query()["dryRun"][0] != "All" || len(request.URL.Query()["dryRun"]) != 1 {
			t.Errorf("%s is sent with %s", line, request.URL.RawQuery)
		}
		if holds := strings.Contains(string(body), `"dryRun":["All"]`); holds != (method == "DELETE" || strings.HasSuffix(target, "eviction")) {
			t.Errorf("%s is sent with %s", line, body)
		}
		if int64(len(body)) != request.ContentLength {
			t.Errorf("%s: %d bytes, said to be %d", line, len(body), request.ContentLength)
		}
	}
	p.ask("GET", "/api/v1/pods?dryRun=x", "")
	if request, _ := p.last(); request.URL.RawQuery != "dryRun=x" {
		t.Errorf("a GET is sent with %s", request.URL.RawQuery)
	}
	for _, line := range p.requests() {
		if line.DryRun != (line.Verb != "list") {
			t.Errorf("%+v", line)
		}
	}
}

func TestADeleteInADryRunWhoseBodyCannotBeRewrittenIsRefused(t *testing.T) {
	p := start(t, drying(), "")
	for media, want := range map[string]int{"application/vnd.kubernetes.protobuf": 415, "application/json": 400} {
		if code, body := p.ask("DELETE", "/api/v1/namespaces/a/pods/x", "k8s\x00", "Content-Type: "+media); code != want {
			t.Errorf("%s: %d %s", media, code, body)
		}
	}
	if code, _ := p.ask("DELETE", "/api/v1/namespaces/a/pods/x", "{}"+strings.Repeat(" ", 65<<10)); code != 413 {
		t.Errorf("a large one: %d", code)
	}
	if request, _ := p.last(); request != nil {
		t.Error("sent all the same")
	}
}

func TestABodyThatNobodyLooksAtIsSentAsItIs(t *testing.T) {
	p := start(t, full(), "")
	for _, body := range []string{"", "k8s\x00\x01", strings.Repeat("x", 1<<20)} {
		for _, method := range []string{"POST", "DELETE"} {
			p.ask(method, "/api/v1/namespaces/a/pods/x", body, "Content-Type: application/vnd.kubernetes.protobuf")
			if request, sent := p.last(); string(sent) != body || request.Header.Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
				t.Errorf("%s: %d bytes became %d", method, len(body), len(sent))
			}
		}
	}
}

const hunter = `{"kind":"Secret","apiVersion":"v1","type":"Opaque","metadata":{"name":"x"},"data":{"a":"aHVudGVyMg=="}}`

func TestSecretsAreMaskedInWhateverTheServerAnswers(t *testing.T) {
	p := start(t, masking(), "")
	answering(p, 200, hunter, "Warning: 299 - \"hunter2\"", "Set-Cookie: R_SESS=hunter2", "Audit-Id: 7")
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		target := secretsPath + "/x"
		if method == "POST" {
			target = secretsPath
		}
		text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/vnd.kubernetes.protobuf, */*\r\n"+
			"Accept-Encoding: gzip\r\nContent-Type: application/merge-patch+json\r\nContent-Length: 2\r\n\r\n{}", method, target, p.address)
		response := p.raw(text)
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != 200 || strings.Contains(string(body), "aHVudGVyMg") || !strings.Contains(string(body), `"a":"KioqKioqKg=="`) {
			t.Errorf("%s: %d %s", method, response.StatusCode, body)
		}
		if strings.Contains(fmt.Sprint(response.Header), "hunter2") || response.Header.Get("Audit-Id") != "7" {
			t.Errorf("%s: %v", method, response.Header)
		}
		request, _ := p.last()
		if request.Header.Get("Accept") != "application/json" || request.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s is sent with %v", method, request.Header)
		}
	}
}

func TestAPackedAnswerIsMaskedToo(t *testing.T) {
	p := start(t, masking(), "")
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		_, _ = io.WriteString(packed, hunter)
		_ = packed.Close()
	}
	if code, body := p.ask("GET", secretsPath+"/x", ""); code != 200 || !strings.Contains(body, `"a":"KioqKioqKg=="`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestAnAnswerThatCannotBeMaskedIsWithheld(t *testing.T) {
	p := start(t, masking(), "")
	for _, one := range []struct {
		code         int
		body, header string
		want         int
	}{
		{200, "k8s\x00hunter2", "Content-Type: application/vnd.kubernetes.protobuf", 502}, {200, "hunter2", "Content-Type: application/json", 502},
		{200, hunter, "Content-Type: text/plain", 502}, {200, hunter, "Content-Encoding: br", 502}, {200, "", "X: y", 502},
		{200, "hunter2", "Content-Encoding: gzip", 502}, {500, "<html>hunter2", "Content-Type: text/html", 500},
		{403, "hunter2", "Content-Type: ", 403}, {302, "hunter2", "Content-Type: text/html", 502},
		{422, `{"kind":"Status","apiVersion":"v1","message":"Invalid value: hunter2","reason":"Invalid","code":422}`, "X: y", 422},
	} {
		answering(p, one.code, one.body, one.header)
		code, body := p.ask("GET", secretsPath+"/x", "")
		if code != one.want || strings.Contains(body, "hunter2") || strings.Contains(body, "aHVudGVyMg") || !strings.Contains(body, `"kind":"Status"`) {
			t.Errorf("%v is answered with %d %s", one, code, body)
		}
	}
	answering(p, 200, hunter+" x")
	if _, body := p.ask("GET", secretsPath+"/x", ""); strings.Contains(body, "aHVudGVyMg") {
		t.Errorf("an answer with something after its end: %s", body)
	}
}

func TestAWatchOfSecretsIsMaskedAsItComes(t *testing.T) {
	p := start(t, masking(), "")
	goOn := make(chan struct{})
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 3 {
			fmt.Fprintf(w, `{"type":"ADDED","object":%s}`+"\n", hunter)
			w.(http.Flusher).Flush()
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		}
	}
	response, err := http.Get("http://" + p.address + secretsPath + "?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for range 3 { // each before the next is sent
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, `"a":"KioqKioqKg=="`) || !strings.HasPrefix(line, `{"type":"ADDED"`) {
			t.Fatalf("%v %s", err, line)
		}
		goOn <- struct{}{}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%v %s", err, rest)
	}
}

func TestAWriteOfAMaskIsRefused(t *testing.T) {
	p := start(t, masking(), "")
	code, body := p.ask("PUT", secretsPath+"/x", `{"data":{"a":"KioqKioqKg=="}}`)
	if request, _ := p.last(); code != 403 || request != nil || !strings.Contains(body, "storing it would destroy the value") {
		t.Errorf("%d %s", code, body)
	}
	if lines := p.requests(); lines[0].Refused != "secrets: masked" {
		t.Errorf("%+v", lines)
	}
}

// upgrading makes the server switch protocols and send back what it gets, until it gets a newline.
func upgrading(p *place) {
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		connection, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			p.t.Error(err)
			return
		}
		defer connection.Close()
		fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		line, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(connection, strings.ToUpper(line))
	}
}

func TestAnUpgradedConnectionGoesThroughAndIsCounted(t *testing.T) {
	p := start(t, full(), "")
	upgrading(p)
	for _, one := range []string{"GET websocket", "POST SPDY/3.1"} {
		method, protocol, _ := strings.Cut(one, " ")
		connection, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintf(connection, "%s /api/v1/namespaces/a/pods/x/exec?command=true HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
			method, p.address, protocol)
		reader := bufio.NewReader(connection)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 101 {
			t.Fatalf("%v %+v", err, response)
		}
		fmt.Fprint(connection, "hello\n")
		if line, err := io.ReadAll(reader); err != nil || string(line) != "HELLO\n" {
			t.Errorf("%s: %v %q", one, err, line)
		}
		if request, _ := p.last(); request.Header.Get("Authorization") != "Bearer the-token" || request.ProtoMajor != 1 {
			t.Errorf("%s is sent as %+v", one, request)
		}
	}
	for _, line := range p.requests() {
		if line.Code != 101 || line.Subresource != "exec" || line.Sent != 6 || line.Received != 6 {
			t.Errorf("%+v", line)
		}
	}
}

func TestWithoutAServerItSaysSo(t *testing.T) {
	p := start(t, full(), "")
	p.server.Close()
	code, body := p.ask("GET", "/api", "")
	if code != 503 || !strings.Contains(body, `the API server of context \"it\" does not answer`) || strings.Contains(body, "the-token") {
		t.Errorf("%d %s", code, body)
	}
	if lines := p.requests(); lines[0].Code != 503 || lines[0].Refused != "" {
		t.Errorf("%+v", lines)
	}
}

func TestARequestThatTheCommandLeavesIsRecorded(t *testing.T) {
	p := start(t, full(), "")
	reached, left := make(chan struct{}), make(chan struct{})
	p.answer = func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
		close(left)
	}
	connection, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(connection, "DELETE /api/v1/namespaces/a/pods/x HTTP/1.1\r\nHost: %s\r\n\r\n", p.address)
	<-reached
	_ = connection.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the server goes on with it")
	}
	if lines := p.requests(); len(lines) != 1 || lines[0].Verb != "delete" || lines[0].Code != 0 {
		t.Errorf("%+v", lines)
	}
}

func TestTheRecordSaysWhatWasAskedAndNothingThatIsSecret(t *testing.T) {
	p := start(t, full(), "")
	p.ask("POST", "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=hunter2", `{"a":"hunter2"}`, "X-Mine: hunter2")
	p.ask("GET", "/metrics?x=hunter2", "")
	lines := p.requests()
	if strings.Contains(p.lines.text(), "hunter2") || strings.Contains(p.lines.text(), "the-token") {
		t.Error(p.lines.text())
	}
	one := lines[0]
	if one.Verb != "create" || one.Group != "apps" || one.Resource != "deployments" || one.Subresource != "scale" || one.Namespace != "shop" ||
		one.Name != "web" || one.Code != 200 || one.DryRun || one.Sent != 15 || one.Received != 34 || one.Path != "" || one.Context != "it" {
		t.Errorf("%+v", one)
	}
	if two := lines[1]; two.Verb != "get" || two.Path != "/metrics" || two.Resource != "" {
		t.Errorf("%+v", two)
	}
}

func TestTheRecordHasTheNameOfWhatWasMade(t *testing.T) {
	p := start(t, masking(), "")
	long := strings.Repeat("x", 100_000)
	for _, one := range []struct{ target, answer string }{
		{"/api/v1/namespaces/a/configmaps", `{"kind":"ConfigMap","metadata":{"generateName":"made-","name":"made-1","labels":{"name":"x"}},"data":{"name":"x"}}`},
		{"/api/v1/namespaces/a/configmaps", `{"kind":"ConfigMap","metadata":{"name":"made-2"},"data":{"a":"` + long + `"}}`},
		{"/api/v1/namespaces/a/configmaps", `{"data":{"a":"` + long + `"},"metadata":{"name":"too-late"}}`},
		{"/api/v1/namespaces/a/configmaps", `{"kind":"Status","metadata":{},"details":{"name":"there","kind":"configmaps"},"code":409}`},
		{"/api/v1/namespaces/a/configmaps", "k8s\x00"}, {"/api/v1/namespaces/a/configmaps", `[]`}, {"/api/v1/namespaces/a/configmaps", ``},
		{secretsPath, hunter}, {"/api/v1/namespaces/a/configmaps", "k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x08\x0a\x06\x0a\x04made\x1a\x00"},
		{"/api/v1/namespaces/a/configmaps", "k8s\x00\x0a\x0c\x0a\x02v1\x12\x06Status\x12\x0c\x0a\x00\x12\x00\x2a\x06\x0a\x04gone"}, {"/api/v1/namespaces/a/pods/web/eviction", `{"kind":"Status","details":{"name":"other"}}`},
	} {
		answering(p, 200, one.answer)
		p.ask("POST", one.target, "{}")
	}
	answered := []string{"made-1", "made-2", "", "there", "", "", "", "x", "made", "gone", "web"}
	for i, line := range p.requests() {
		if line.Name != answered[i] {
			t.Errorf("%d: the name is %q, not %q", i, line.Name, answered[i])
		}
	}
}

func TestADryRunSaysSoAndNobodyWaitsForIt(t *testing.T) {
	p := start(t, drying(), "")
	answering(p, 200, `{"kind":"Secret","metadata":{"name":"x","uid":"u"}}`)
	for _, target := range []string{secretsPath + "/x", "/api/v1/namespaces/a/pods/x"} {
		response := p.raw(fmt.Sprintf("DELETE %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}", target, p.address))
		body, _ := io.ReadAll(response.Body)
		if response.Header.Get("Warning") != `299 - "this run is a dry run: nothing was changed"` || string(body) != `{"kind":"Secret","metadata":{"name":"x"}}`+"\n" {
			t.Errorf("%v %s", response.Header, body)
		}
	}
	if response := p.raw(fmt.Sprintf("GET /api/v1/pods HTTP/1.1\r\nHost: %s\r\n\r\n", p.address)); response.Header.Get("Warning") != "" {
		t.Errorf("reading: %v", response.Header)
	}
	answering(p, 404, `{"kind":"Status","details":{"uid":"u"}}`)
	if _, body := p.ask("DELETE", "/api/v1/namespaces/a/pods/x", "{}"); !strings.Contains(body, `"uid"`) {
		t.Errorf("an error: %s", body)
	}
}

func TestNothingIsPackedThatTheCommandDidNotAskToHavePacked(t *testing.T) {
	p := start(t, full(), "")
	for _, line := range []string{"", "Accept-Encoding: gzip\r\n", "Accept-Encoding: identity\r\n"} {
		p.raw(fmt.Sprintf("GET /openapi/v2 HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", p.address, line))
		request, _ := p.last()
		if wanted := strings.TrimSuffix(strings.TrimPrefix(line, "Accept-Encoding: "), "\r\n"); request.Header.Get("Accept-Encoding") != wanted {
			t.Errorf("%q is sent with %q", line, request.Header.Get("Accept-Encoding"))
		}
	}
}
