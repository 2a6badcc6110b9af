package serve

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// recordedPath is none of Kubernetes': a group, a version and a resource begin with a letter or a digit.
const recordedPath = "/.gate/recorded"

// settleTime is for requests of processes that were killed just now; the client is waiting for the end of its run.
const settleTime = 300 * time.Millisecond

// recorded tells the runner, when the command and all that it started has ended, how many lines the record has, so that
// a reader of it knows when it has them all. It says nothing that the command may not know, and leaves no line.
func (h *Handler) recorded(w http.ResponseWriter, r *http.Request) {
	limit, cancel := context.WithTimeout(r.Context(), settleTime)
	defer cancel()
	lines, open := h.Record.Settled(limit)
	_, _ = fmt.Fprintf(w, "%d %d\n", lines, open) // whoever has gone does not want to know
}
