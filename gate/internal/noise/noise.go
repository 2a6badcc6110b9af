// Package noise keeps everything but the record out of the record: what libraries and credential plugins have to say
// goes to standard error, each line with a beginning that no line of the record has.
package noise

import (
	"bufio"
	"io"
	"log"
	"os"

	"k8s.io/klog/v2"
)

const prefix = "gate: "

// Mark puts the prefix before whatever is written to standard error, by this program or by one that it starts, and
// returns a logger to it. client-go's own log is dropped: it quotes queries.
func Mark() (*log.Logger, error) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	out := os.Stderr
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	os.Stderr = writer
	go copyLines(out, reader)
	return log.New(out, prefix, 0), nil
}

func copyLines(out io.Writer, from io.Reader) {
	lines := bufio.NewReaderSize(from, 4096) // a longer line becomes several
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return // it is never closed
		}
		if _, err = out.Write(append(append([]byte(prefix), line...), '\n')); err != nil {
			return
		}
	}
}
