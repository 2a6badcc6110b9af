package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestWhatIsGatheredFillsTheBufferAndEndsAsItDoes(t *testing.T) {
	broken := errors.New("broken")
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, broken} {
		body := io.MultiReader(iotest.OneByteReader(strings.NewReader("abcdefgh")), iotest.ErrReader(end))
		from := gathered{io.NopCloser(body)}
		buffer := make([]byte, 5)
		if n, err := from.Read(buffer); n != 5 || err != nil || string(buffer) != "abcde" {
			t.Fatalf("%d %v %s", n, err, buffer)
		}
		if n, err := from.Read(buffer); n != 3 || err != end || string(buffer[:n]) != "fgh" {
			t.Fatalf("%v: %d %v %s", end, n, err, buffer)
		}
	}
}

func TestOnlyWhatEndsIsGathered(t *testing.T) {
	p := start(t, masking(), "")
	goesOn := make(chan struct{})
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-goesOn
	}
	defer close(goesOn)
	for _, target := range []string{
		"/api/v1/pods?watch=true", "/api/v1/watch/pods", "/api/v1/namespaces/a/pods/x/log?follow=true",
		"/api/v1/namespaces/a/pods/x/proxy/", "/apis/metrics.k8s.io/v1beta1/namespaces/a/pods/x/stream",
	} {
		if got := beginning(t, p, target); got != "first" {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// beginning is the first five bytes of an answer that goes on.
func beginning(t *testing.T, p *place, target string) string {
	t.Helper()
	connection, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, p.address)
	response, err := http.ReadResponse(newReader(connection), nil)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	begin := make([]byte, 5)
	n, _ := io.ReadFull(response.Body, begin)
	return string(begin[:n])
}
