// Package record writes what a run asked for: one JSON line for each request, numbered, between a first and a last one.
// A reader that has all numbers from the first line to the last has everything.
package record

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// Version is in every line and tells it from anything else in a container's log.
const Version = 1

// longest keeps a line far under the 16 KiB at which a container's log is split, whatever JSON makes of its bytes.
const longest = 253

// Line is one line. No header, body or query value is ever in it.
type Line struct {
	Gate  int    `json:"gate"`
	Seq   uint64 `json:"seq"`
	Event string `json:"event"` // start, request or end
	Time  string `json:"time"`

	Contexts []Context `json:"contexts,omitempty"` // start
	*Request
	*End
}

// Context says on which port a context is, and why it cannot be used if so.
type Context struct {
	Name  string `json:"name"`
	Port  int    `json:"port"`
	Error string `json:"error,omitempty"`
}

// Request is what one request was, and what became of it.
type Request struct {
	Context     string  `json:"context"`
	Verb        string  `json:"verb"`
	Group       string  `json:"group"`
	Resource    string  `json:"resource,omitempty"`
	Subresource string  `json:"subresource,omitempty"`
	Namespace   string  `json:"namespace,omitempty"`
	Name        string  `json:"name,omitempty"`
	Path        string  `json:"path,omitempty"` // of what is no resource
	Code        int     `json:"code"`           // 0: the connection ended before an answer
	DryRun      bool    `json:"dry_run"`
	Refused     string  `json:"refused,omitempty"` // the rule that refused it
	Sent        int64   `json:"sent"`              // bytes of bodies and upgraded connections, to the server
	Received    int64   `json:"received"`
	Duration    float64 `json:"duration"` // seconds
}

// End is what there should have been.
type End struct {
	Requests uint64 `json:"requests"`
	Refusals uint64 `json:"refusals"`
}

// Writer writes the lines, each with one call, and numbers them. It is safe for many goroutines.
type Writer struct {
	mutex  sync.Mutex
	out    io.Writer
	failed func(error)
	now    func() time.Time
	seq    uint64
	end    End
	open   int           // requests that have come and not ended
	idle   chan struct{} // closed when there is none
}

// New begins the record: nothing is served before its first line is out. failed is called when a line cannot be
// written; it must not let the program go on, because nothing may happen that is not recorded.
func New(out io.Writer, contexts []Context, failed func(error)) *Writer {
	writer := &Writer{out: out, failed: failed, now: time.Now, idle: make(chan struct{})}
	close(writer.idle)
	for i := range contexts {
		contexts[i].Name = short(contexts[i].Name)
		contexts[i].Error = short(contexts[i].Error)
	}
	writer.write(Line{Event: "start", Contexts: contexts})
	return writer
}

// Begin says that a request has come, which Write will end.
func (w *Writer) Begin() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.open == 0 {
		w.idle = make(chan struct{})
	}
	w.open++
}

// Settled waits until no request is open, or limit is done. It says how many lines there are then, and how many
// requests are open all the same.
func (w *Writer) Settled(limit context.Context) (lines uint64, open int) {
	w.mutex.Lock()
	idle := w.idle
	w.mutex.Unlock()
	select {
	case <-idle:
	case <-limit.Done():
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.seq, w.open
}

// Write adds a request that has ended. It waits while nobody reads: a request that cannot be recorded has to wait.
func (w *Writer) Write(request Request) {
	for _, text := range []*string{
		&request.Context, &request.Verb, &request.Group, &request.Resource, &request.Subresource,
		&request.Namespace, &request.Name, &request.Path,
	} {
		*text = short(*text)
	}
	request.Refused = short(request.Refused)
	w.write(Line{Event: "request", Request: &request})
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.open--
	if w.open == 0 {
		close(w.idle)
	}
}

// Close writes the last line.
func (w *Writer) Close() {
	w.mutex.Lock()
	end := w.end
	w.mutex.Unlock()
	w.write(Line{Event: "end", End: &end})
}

func (w *Writer) write(line Line) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	line.Gate, line.Seq = Version, w.seq
	line.Time = w.now().UTC().Format("2006-01-02T15:04:05.000Z")
	if line.Request != nil {
		w.end.Requests++
		if line.Refused != "" {
			w.end.Refusals++
		}
	}
	w.seq++
	text, err := json.Marshal(line)
	if err == nil {
		_, err = w.out.Write(append(text, '\n'))
	}
	if err != nil {
		w.failed(err)
	}
}

// short cuts a text to what a line has room for, never within a character.
func short(text string) string {
	if len(text) <= longest {
		return text
	}
	end := longest
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
