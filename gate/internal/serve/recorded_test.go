package serve

import (
	"fmt"
	"net/http"
	"testing"
)

func TestTheRunnerIsToldHowManyLinesThereAre(t *testing.T) {
	p := start(t, full(), "")
	for number := range 3 {
		// The start is a line, too; asking leaves none.
		if code, body := p.ask("GET", recordedPath, ""); code != 200 || body != fmt.Sprintf("%d 0\n", number+1) {
			t.Fatalf("%d %q after %d requests", code, body, number)
		}
		p.ask("GET", "/api/v1/namespaces/a/pods", "")
	}
	if request, _ := p.last(); request.URL.Path == recordedPath || len(p.reached) != 3 {
		t.Errorf("%d requests were sent on, the last to %s", len(p.reached), request.URL.Path)
	}
}

func TestWhatIsStillOpenIsTold(t *testing.T) {
	p := start(t, full(), "")
	came, end := make(chan struct{}), make(chan struct{})
	p.answer = func(http.ResponseWriter, *http.Request) { close(came); <-end }
	ended := make(chan struct{})
	go func() { p.ask("GET", "/api/v1/namespaces/a/pods", ""); close(ended) }()
	<-came
	if _, body := p.ask("GET", recordedPath, ""); body != "1 1\n" {
		t.Errorf("%q", body)
	}
	close(end)
	<-ended
	if _, body := p.ask("GET", recordedPath, ""); body != "2 0\n" {
		t.Errorf("%q", body)
	}
}

func TestAPathLikeItIsRefusedOrSentOnAsAnyOther(t *testing.T) {
	p := start(t, full(), "")
	for _, target := range []string{"/.gate/recorded?x", "/.gate/recorded/", "/.gate/Recorded"} {
		p.ask("GET", target, "")
	}
	if len(p.reached) != 3 {
		t.Errorf("%d were sent on", len(p.reached))
	}
}
