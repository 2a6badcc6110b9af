package serve

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// traffic counts bytes of bodies and of upgraded connections.
type traffic struct{ sent, received atomic.Int64 }

// counted counts what is read of a body.
type counted struct {
	io.ReadCloser
	count *atomic.Int64
}

func (c *counted) Read(into []byte) (int, error) {
	n, err := c.ReadCloser.Read(into)
	c.count.Add(int64(n))
	return n, err
}

// answer remembers the code of an answer and counts its body.
type answer struct {
	http.ResponseWriter
	traffic *traffic
	code    int
	keep    bool   // the beginning of the body
	start   []byte // of it
}

func (a *answer) WriteHeader(code int) {
	if code >= http.StatusOK {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(body []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	if a.keep {
		a.start = append(a.start, body[:min(len(body), mostKept-len(a.start))]...)
	}
	n, err := a.ResponseWriter.Write(body)
	a.traffic.received.Add(int64(n))
	return n, err
}

// Unwrap lets net/http flush and hijack.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// upgraded counts what passes once the connection is no longer HTTP.
func (a *answer) upgraded(response *http.Response) error {
	server, ok := response.Body.(io.ReadWriteCloser)
	if !ok {
		return errors.New("it switches protocols on a connection that cannot be written to")
	}
	a.code = http.StatusSwitchingProtocols
	response.Body = &tunnel{server, a.traffic}
	return nil
}

type tunnel struct {
	io.ReadWriteCloser
	traffic *traffic
}

func (t *tunnel) Read(into []byte) (int, error) {
	n, err := t.ReadWriteCloser.Read(into)
	t.traffic.received.Add(int64(n))
	return n, err
}

func (t *tunnel) Write(from []byte) (int, error) {
	n, err := t.ReadWriteCloser.Write(from)
	t.traffic.sent.Add(int64(n))
	return n, err
}
