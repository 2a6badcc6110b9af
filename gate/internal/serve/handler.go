// Package serve answers on the port of each context: it asks what a request is, decides, changes what has to be changed,
// sends it on and records it.
package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gate/internal/asked"
	"gate/internal/dryrun"
	"gate/internal/record"
	"gate/internal/rules"
	"gate/internal/secrets"
	"gate/internal/status"
	"gate/internal/upstream"
)

// Handler answers on one port.
type Handler struct {
	Context  string
	Host     string // what the Host header must be
	Upstream *upstream.Upstream
	Broken   string // why there is no Upstream
	Rules    rules.Rules
	Record   *record.Writer
}

// refused is an answer of the gate's own.
type refused struct {
	code    int
	rule    string
	message string
}

func (h *Handler) ServeHTTP(plain http.ResponseWriter, r *http.Request) {
	if r.RequestURI == recordedPath {
		h.recorded(plain, r)
		return
	}
	began := time.Now()
	h.Record.Begin()
	line := record.Request{Context: h.Context, Verb: r.Method, Path: r.URL.Path}
	traffic := &traffic{}
	w := &answer{ResponseWriter: plain, traffic: traffic}
	defer func() {
		if w.keep {
			line.Name = nameIn(w.start)
		}
		line.Code, line.Duration = w.code, time.Since(began).Round(100*time.Microsecond).Seconds()
		line.Sent, line.Received = traffic.sent.Load(), traffic.received.Load()
		h.Record.Write(line)
	}()
	r.Body = &counted{ReadCloser: r.Body, count: &traffic.sent}
	plan, refusal := h.plan(r, &line)
	if refusal != nil {
		line.Refused = refusal.rule
		status.Write(w, refusal.code, refusal.message)
		return
	}
	w.keep = needsName(plan.request)
	h.forward(w, r, plan)
}

// plan is how a request is sent on, and what has to be done with its answer.
type plan struct {
	request *asked.Request
	query   string
	body    []byte // instead of the request's own
	newBody bool
	media   string // of the new body
	masked  bool
	dry     bool
}

func (h *Handler) plan(r *http.Request, line *record.Request) (*plan, *refused) {
	request, err := asked.Read(r, h.Host)
	if err != nil {
		return nil, &refused{http.StatusBadRequest, "form", "the gate refuses this request, which could be read in two ways: " + err.Error()}
	}
	describe(request, line)
	if h.Upstream == nil {
		return nil, &refused{http.StatusServiceUnavailable, "", h.Broken}
	}
	if !h.Upstream.OwnIdentity {
		request.As = asked.Identities(r.Header)
	}
	if refusal := h.Rules.Decide(request); refusal != nil {
		return nil, &refused{http.StatusForbidden, refusal.Rule, fmt.Sprintf("%s: %s", request, refusal.Reason)}
	}
	plan := &plan{request: request, query: request.RawQuery(), masked: h.Rules.Masked(request)}
	plan.dry = h.Rules.Dry(request)
	if err := plan.rewrite(r); err != nil {
		refusal := bodyRefusal(err)
		refusal.message = fmt.Sprintf("%s: %s", request, err)
		return nil, refusal
	}
	line.DryRun = plan.dry || plan.asksForDryRun(r)
	return plan, nil
}

func describe(request *asked.Request, line *record.Request) {
	line.Verb = request.Verb
	if request.IsResourceRequest {
		line.Path = ""
		line.Group, line.Resource, line.Subresource = request.APIGroup, request.Resource, request.Subresource
		line.Namespace, line.Name = request.Namespace, request.Object()
	}
}

// rewrite reads the bodies that have to be looked at, and changes what has to be changed.
func (p *plan) rewrite(r *http.Request) error {
	media := r.Header.Get("Content-Type")
	if p.masked && p.request.Changes() {
		body, err := secrets.Write(p.request, media, r.Body)
		if err != nil {
			return err
		}
		p.body, p.newBody, p.media = body, true, media
	}
	if !p.dry {
		return nil
	}
	p.query = dryrun.Query(p.request.Query)
	if !dryrun.HasOptions(p.request) {
		return nil
	}
	var from io.Reader = r.Body
	if p.newBody {
		from = bytes.NewReader(p.body)
	}
	body, err := dryrun.Body(p.request, media, from)
	p.body, p.newBody, p.media = body, true, "application/json"
	return err
}

// asksForDryRun is for the record: what the command itself said. A DELETE says it in its body, which is looked at and
// sent on as it is.
func (p *plan) asksForDryRun(r *http.Request) bool {
	if !p.request.Changes() {
		return false
	}
	body := p.body
	if r.Method == http.MethodDelete && !p.newBody {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, dryrun.Bound)); err != nil {
			body = nil // the same error comes when the rest is read
		}
		r.Body = rest{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	}
	return dryrun.Asked(p.request, r.Header.Get("Content-Type"), body)
}

type rest struct {
	io.Reader
	io.Closer
}

func bodyRefusal(err error) *refused {
	switch {
	case errors.Is(err, dryrun.ErrTooLarge), errors.Is(err, secrets.ErrTooLarge):
		return &refused{code: http.StatusRequestEntityTooLarge, rule: "body"}
	case errors.Is(err, dryrun.ErrMedia), errors.Is(err, secrets.ErrMedia):
		return &refused{code: http.StatusUnsupportedMediaType, rule: "body"}
	case errors.Is(err, dryrun.ErrBody), errors.Is(err, secrets.ErrBody):
		return &refused{code: http.StatusBadRequest, rule: "body"}
	case errors.Is(err, secrets.ErrWouldHarm):
		return &refused{code: http.StatusForbidden, rule: "secrets: masked"}
	default: // the command went away, or sent less than it had announced
		return &refused{code: http.StatusBadRequest, rule: "body"}
	}
}
