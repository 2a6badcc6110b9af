package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"gate/internal/config"
	"gate/internal/record"
	"gate/internal/rules"
	"gate/internal/upstream"
)

const prefix = "/k8s/clusters/c-dev"

// place is a gate before a server that notes what reaches it.
type place struct {
	t       *testing.T
	address string
	server  *httptest.Server
	ports   *Ports
	record  *record.Writer
	lines   safeBuffer
	answer  func(w http.ResponseWriter, r *http.Request)

	mutex   sync.Mutex
	reached []*http.Request
	bodies  [][]byte
}

type safeBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(text []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(text)
}

func (b *safeBuffer) text() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.String()
}

// start runs a gate with settings; user is what the kubeconfig's user has besides a token.
func start(t testing.TB, settings config.Rule, user string) *place {
	t.Helper()
	p := &place{}
	if test, ok := t.(*testing.T); ok {
		p.t = test
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	p.server = server
	kubeconfig := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "it",
	 "clusters": [{"name": "it", "cluster": {"server": "%s%s", "insecure-skip-tls-verify": true}}],
	 "users": [{"name": "it", "user": {"token": "the-token"%s}}],
	 "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}`, server.URL, prefix, user)
	known, err := upstream.Parse([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	of, err := known.Of("it")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if settings.Name == "" {
		settings.Name = "team-a"
	}
	p.address = listener.Addr().String()
	p.record = record.New(&p.lines, nil, func(err error) { t.Error(err) })
	p.ports = NewPorts()
	handler := &Handler{
		Context: "it", Host: p.address, Upstream: of, Rules: rules.New(settings), Record: p.record,
	}
	p.ports.Serve(listener, handler, log.New(io.Discard, "", 0))
	t.Cleanup(p.ports.Stop)
	return p
}

func full() config.Rule {
	return config.Rule{Access: config.Full, Secrets: config.Open}
}

func (p *place) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mutex.Lock()
	p.reached = append(p.reached, r)
	p.bodies = append(p.bodies, body)
	p.mutex.Unlock()
	if p.answer != nil {
		p.answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"kind":"Thing","apiVersion":"v1"}`)
}

// last is the request that reached the server last, nil when none has.
func (p *place) last() (*http.Request, []byte) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.reached) == 0 {
		return nil, nil
	}
	return p.reached[len(p.reached)-1], p.bodies[len(p.bodies)-1]
}

// raw sends bytes as they are and returns the answer.
func (p *place) raw(text string) *http.Response {
	connection, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer connection.Close()
	if _, err = io.WriteString(connection, text); err != nil {
		p.t.Fatal(err)
	}
	response, err := http.ReadResponse(newReader(connection), nil)
	if err != nil {
		p.t.Fatalf("%q: %v", text, err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response
}

// ask sends one request and returns the code and the body.
func (p *place) ask(method, target, body string, headers ...string) (int, string) {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, target, p.address)
	for _, header := range headers {
		text += header + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	response := p.raw(text + "\r\n" + body)
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

// requests are the record's lines about requests, once the gate has stopped.
func (p *place) requests() []record.Line {
	p.ports.Stop()
	var found []record.Line
	for line := range strings.Lines(p.lines.text()) {
		var read record.Line
		if err := json.Unmarshal([]byte(line), &read); err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		if read.Event == "request" {
			found = append(found, read)
		}
	}
	return found
}
