package serve

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"gate/internal/asked"
	"gate/internal/secrets"
	"gate/internal/status"
)

// Headers of an answer about Secrets that stay. A warning could quote a value.
var keptHeaders = []string{
	"Audit-Id", "Cache-Control", "Date", "Retry-After", "X-Kubernetes-Pf-Flowschema-Uid",
	"X-Kubernetes-Pf-Prioritylevel-Uid",
}

// maskAnswer makes the answer's body one without values. It never lets through what it cannot read.
func maskAnswer(response *http.Response, request *asked.Request) error {
	given := response.Header
	response.Header = http.Header{}
	for _, name := range keptHeaders {
		if values := given.Values(name); len(values) > 0 {
			response.Header[name] = values
		}
	}
	response.Trailer = nil
	if request.Method == http.MethodHead || response.StatusCode == http.StatusNoContent {
		response.Header.Set("Content-Type", "application/json")
		return nil
	}
	body, readable := plainBody(given, response.Body)
	if !readable {
		return replace(response)
	}
	response.Header.Set("Content-Type", "application/json")
	response.ContentLength = -1
	masker := secrets.Masker{Core: request.APIGroup == ""}
	if request.Verb == "watch" && response.StatusCode == http.StatusOK {
		response.Body = masked(body, response.Body, masker.Watch)
		return nil
	}
	answer := masked(body, response.Body, masker.Answer)
	start := bufio.NewReader(answer)
	if _, err := start.Peek(1); err != nil {
		_ = answer.Close()
		return errUnreadable
	}
	response.Body = rest{start, answer}
	return nil
}

// plainBody is the body as JSON, if it is that.
func plainBody(header http.Header, body io.Reader) (io.Reader, bool) {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, false
	}
	switch strings.ToLower(header.Get("Content-Encoding")) {
	case "", "identity":
		return body, true
	case "gzip":
		unpacked, err := gzip.NewReader(body)
		return unpacked, err == nil
	default:
		return nil, false
	}
}

// replace answers an error in another form, such as a gateway's page, with the same code and no text of it.
func replace(response *http.Response) error {
	if response.StatusCode < http.StatusBadRequest {
		return errUnreadable
	}
	_ = response.Body.Close()
	body := status.Body(response.StatusCode, "the server answers with an error that is not Kubernetes' (withheld)")
	response.Header.Set("Content-Type", "application/json")
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	response.ContentLength = int64(len(body))
	response.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// masked is what mask makes of body, as a reader; closing it closes the server's answer, which ends mask.
func masked(body io.Reader, server io.Closer, mask func(io.Reader, io.Writer) error) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		defer func() {
			if broken := recover(); broken != nil {
				_ = writer.CloseWithError(errUnreadable)
			}
		}()
		_ = writer.CloseWithError(mask(body, writer))
	}()
	return rest{reader, closers{reader, server}}
}

type closers []io.Closer

func (c closers) Close() error {
	for _, one := range c {
		_ = one.Close() // nothing is waiting to be written
	}
	return nil
}
