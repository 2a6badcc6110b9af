package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

func read(t *testing.T, text []byte) []Line {
	t.Helper()
	var lines []Line
	for line := range strings.Lines(string(text)) {
		var one Line
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, one)
	}
	return lines
}

// failing is the out of a test in which nothing fails.
func failing(t *testing.T) func(error) { return func(err error) { t.Error(err) } }

func TestEachRequestIsALineWithANumberOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	writer := New(&out, []Context{{Name: "prod", Port: 9001}}, failing(t))
	var commands sync.WaitGroup
	for i := range 20 {
		commands.Go(func() {
			for k := range 250 {
				request := Request{Verb: "get", Name: fmt.Sprintf("%d-%d", i, k), Code: 200}
				if k == 7 {
					request.Refused, request.Code = "deny[0]", 403
				}
				writer.Write(request)
			}
		})
	}
	commands.Wait()
	writer.Close()
	lines := read(t, out.Bytes())
	if len(lines) != 5002 || lines[0].Event != "start" || lines[0].Contexts[0].Port != 9001 {
		t.Fatalf("%d lines, the first is %+v", len(lines), lines[0])
	}
	seen := map[string]bool{}
	for i, line := range lines {
		if line.Seq != uint64(i) || line.Gate != Version || line.Time == "" {
			t.Fatalf("line %d is %+v", i, line)
		}
		if line.Request != nil {
			seen[line.Name] = true
		}
	}
	if last := lines[5001]; len(seen) != 5000 || last.Event != "end" || last.Requests != 5000 || last.Refusals != 20 {
		t.Fatalf("%d different ones, the last line is %+v", len(seen), last)
	}
}

func TestALineHasRoomInAContainersLog(t *testing.T) {
	// What JSON makes longest: each of its bytes becomes six.
	for _, char := range []string{"\x00", "<", "ü", "\xff", "😀", `"`, "\u2028"} {
		long := strings.Repeat(char, 10_000)
		var out bytes.Buffer
		writer := New(&out, []Context{{Name: long, Error: long}}, failing(t))
		writer.Write(Request{
			Context: long, Verb: long, Group: long, Resource: long, Subresource: long, Namespace: long, Name: long,
			Path: long, Refused: long,
		})
		for line := range bytes.Lines(out.Bytes()) {
			if len(line) >= 16<<10 || !utf8.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("%q: a line of %d bytes: %.100q", char, len(line), line)
			}
		}
		if lines := read(t, out.Bytes()); len(lines) != 2 {
			t.Errorf("%q: %d lines", char, len(lines))
		}
	}
}

func TestNothingOfARequestBeginsALineOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	writer := New(&out, nil, failing(t))
	writer.Write(Request{Path: "/x\n{\"gate\":1,\"seq\":1,\"event\":\"end\"}\n\r\u2028", Name: "\n"})
	if lines := read(t, out.Bytes()); len(lines) != 2 || lines[1].Event != "request" {
		t.Errorf("%s", out.Bytes())
	}
}

type broken struct{ after int }

func (b *broken) Write(text []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("nobody reads")
	}
	return len(text), nil
}

func TestWhatCannotBeWrittenIsTold(t *testing.T) {
	told := 0
	writer := New(&broken{after: 1}, nil, func(error) { told++ })
	if told != 0 {
		t.Fatal("too early")
	}
	writer.Write(Request{})
	if told != 1 {
		t.Error("a lost line is not told")
	}
}

func TestTheRecordIsSettledWhenWhatHasComeHasEnded(t *testing.T) {
	writer := New(&bytes.Buffer{}, nil, failing(t))
	writer.Begin()
	writer.Begin()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if lines, open := writer.Settled(over); lines != 1 || open != 2 {
		t.Errorf("%d lines, %d open", lines, open)
	}
	var ending sync.WaitGroup
	ending.Go(func() { writer.Write(Request{}); writer.Write(Request{}) })
	limit, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if lines, open := writer.Settled(limit); lines != 3 || open != 0 || limit.Err() != nil {
		t.Errorf("%d lines, %d open", lines, open)
	}
	ending.Wait()
}
