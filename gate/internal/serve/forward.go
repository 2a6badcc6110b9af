package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"

	"gate/internal/asked"
	"gate/internal/dryrun"
	"gate/internal/secrets"
	"gate/internal/status"
)

// errUnreadable is an answer that cannot be masked.
var errUnreadable = errors.New("the answer of the API server cannot be read, so its Secrets cannot be masked")

// forward sends the request on and copies the answer as it comes.
func (h *Handler) forward(w *answer, r *http.Request, plan *plan) {
	transport := h.Upstream.Transport
	if plan.request.Upgrade != "" {
		transport = h.Upstream.Upgrades
	}
	proxy := httputil.ReverseProxy{
		Transport:  transport,
		BufferPool: &buffers,
		Rewrite: func(both *httputil.ProxyRequest) {
			h.rewrite(both.Out, plan)
		},
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode == http.StatusSwitchingProtocols {
				return w.upgraded(response)
			}
			response.Header.Del("Set-Cookie") // of a gateway: a credential
			return plan.answer(response)
		},
		ErrorHandler: h.failed,
	}
	proxy.ServeHTTP(w, r)
}

func (h *Handler) rewrite(out *http.Request, plan *plan) {
	out.URL = h.target(plan)
	out.Host = ""
	out.Trailer = nil
	asked.Clean(out.Header, h.Upstream.OwnIdentity)
	if plan.newBody {
		out.Body, out.ContentLength = http.NoBody, int64(len(plan.body))
		if len(plan.body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(plan.body))
			out.Header.Set("Content-Type", plan.media)
		}
		out.TransferEncoding = nil
	}
	if plan.masked {
		out.Header.Set("Accept", secrets.Accept(out.Header["Accept"]))
	}
	if plan.masked || plan.dry {
		out.Header.Set("Accept-Encoding", "identity")
	}
}

// answer changes what has to be changed in an answer.
func (p *plan) answer(response *http.Response) error {
	if p.masked {
		if err := maskAnswer(response, p.request); err != nil {
			return err
		}
	}
	if ends(p.request) {
		response.Body = gathered{response.Body}
	}
	if !p.dry || response.StatusCode >= http.StatusMultipleChoices {
		return nil
	}
	response.Header.Add("Warning", dryrun.Warning)
	if !dryrun.IsWaitedFor(p.request) {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, dryrun.LargestAnswer))
	if err != nil {
		return err
	}
	_ = response.Body.Close() // it was read
	text = dryrun.WithoutUID(text)
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	response.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// target is the server's own path with the request's after it, encoded in the one usual way.
func (h *Handler) target(plan *plan) *url.URL {
	path := url.URL{Path: plan.request.Path}
	target := *h.Upstream.Base
	target.RawPath = target.EscapedPath() + path.EscapedPath()
	target.Path += plan.request.Path
	target.RawQuery = plan.query
	return &target
}

// failed answers when there is no answer to give.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errUnreadable):
		status.Write(w, http.StatusBadGateway, err.Error())
	case errors.Is(err, context.Canceled):
		panic(http.ErrAbortHandler) // nobody is there any more
	default:
		status.Write(w, http.StatusServiceUnavailable,
			fmt.Sprintf("the API server of context %q does not answer: %.500s", h.Context, err))
	}
}

// buffers are what bodies are copied with.
var buffers pool

const bufferSize = 64 << 10

type pool struct{ sync.Pool }

func (p *pool) Get() []byte {
	if buffer, ok := p.Pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, bufferSize)
}

func (p *pool) Put(buffer []byte) { p.Pool.Put(&buffer) }
