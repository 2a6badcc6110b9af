package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gate/internal/record"
)

const usual = `{"contexts": [{"name": "one", "port": 0}, {"name": "two", "port": 0}], "rules": [{"name": "r", "access": "full", "secrets": "full"%s}]}`

// kubeconfig has a context `one` that works, and a context `two` without a cluster.
func kubeconfig(t *testing.T) string {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	}))
	t.Cleanup(server.Close)
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config",
	 "clusters": [{"name": "it", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
	 "users": [{"name": "it", "user": {"token": "the-token"}}],
	 "contexts": [{"name": "one", "context": {"cluster": "it", "user": "it"}}, {"name": "two", "context": {"cluster": "none"}}]}`, server.URL)
}

// asks opens a gate and returns what its contexts answer, and its record.
func asks(t *testing.T, configuration, kubeconfig string) ([]string, []record.Line) {
	t.Helper()
	var out bytes.Buffer
	gate, err := open([]byte(configuration), []byte(kubeconfig), &out, log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	var start record.Line
	if err := json.Unmarshal(out.Bytes(), &start); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, context := range start.Contexts {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/version", context.Port))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		answers = append(answers, fmt.Sprintf("%d %s", response.StatusCode, body))
	}
	gate.close()
	var lines []record.Line
	for text := range strings.Lines(out.String()) {
		var line record.Line
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return answers, lines
}

func TestEachContextHasAPortAndOneOfNoUseSaysSoThere(t *testing.T) {
	answers, lines := asks(t, fmt.Sprintf(usual, ""), kubeconfig(t))
	if answers[0] != "200 Bearer the-token" {
		t.Errorf("the first answers %q", answers[0])
	}
	if !strings.HasPrefix(answers[1], "503 ") || !strings.Contains(answers[1], `cannot use what the kubeconfig has for context \"two\"`) {
		t.Errorf("the second answers %q", answers[1])
	}
	if lines[0].Contexts[0].Error != "" || !strings.Contains(lines[0].Contexts[1].Error, "two") {
		t.Errorf("the record begins with %+v", lines[0])
	}
	if last := lines[len(lines)-1]; len(lines) != 4 || last.Event != "end" || last.Requests != 2 {
		t.Errorf("%d lines, the last is %+v", len(lines), last)
	}
}

func TestWithAConfigurationOfNoUseEveryRequestIsToldWhy(t *testing.T) {
	answers, lines := asks(t, fmt.Sprintf(usual, `, "reed_only": true`), kubeconfig(t))
	for _, answer := range answers {
		if !strings.HasPrefix(answer, "503 ") || !strings.Contains(answer, "reed_only is not a field of the configuration") {
			t.Errorf("%q", answer)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestWithAKubeconfigOfNoUseEveryRequestIsToldWhy(t *testing.T) {
	for _, text := range []string{"", "junk", "{}", `{"apiVersion": "v7", "kind": "Config"}`, "\x00"} {
		answers, _ := asks(t, fmt.Sprintf(usual, ""), text)
		for _, answer := range answers {
			if !strings.HasPrefix(answer, "503 ") || !strings.Contains(answer, "the gate cannot use what the kubeconfig has") {
				t.Errorf("%q: %q", text, answer)
			}
		}
	}
}

func TestWithoutPortsThereIsNowhereToSayIt(t *testing.T) {
	for _, text := range []string{"", "junk", "{}", "[]", `{"contexts": []}`, `{"contexts": "x"}`} {
		var out bytes.Buffer
		if _, err := open([]byte(text), []byte(kubeconfig(t)), &out, log.New(io.Discard, "", 0)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(taken.URL, "http://"), ":")
	text := fmt.Sprintf(`{"contexts": [{"name": "one", "port": %s}], "rules": [{"name": "r", "access": "full", "secrets": "full"}]}`, port)
	var out bytes.Buffer
	if _, err := open([]byte(text), []byte(kubeconfig(t)), &out, log.New(io.Discard, "", 0)); err == nil {
		t.Error("it is taken twice")
	}
}
