// Package dryrun makes a change one that is only tried. `dryRun=All` in the query is enough for most; of DELETE and
// eviction the API server reads options from the body, and then from there alone.
package dryrun

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"gate/internal/asked"
)

// Bound is the largest body of a DELETE or an eviction: they hold a few options.
const Bound = 64 << 10

// Errors that say which answer a body gets that cannot be rewritten.
var (
	ErrTooLarge = errors.New("the body of a DELETE or an eviction in a dry run may have at most 64 KiB")
	ErrMedia    = errors.New("in a dry run the body of a DELETE or an eviction must be JSON or YAML: this one cannot be rewritten")
	ErrBody     = errors.New("the body is not what a DELETE or an eviction has")
)

var all = []string{metav1.DryRunAll}

// Query returns the query with dryRun=All and no other form of it.
func Query(query url.Values) string {
	dry := url.Values{}
	for name, values := range query {
		if !strings.EqualFold(name, "dryRun") {
			dry[name] = values
		}
	}
	dry["dryRun"] = all
	return dry.Encode()
}

// HasOptions says whether the request's body can hold options.
func HasOptions(request *asked.Request) bool {
	return request.Method == http.MethodDelete || eviction(request)
}

func eviction(request *asked.Request) bool { return request.Subresource == "eviction" }

// Body returns the body of such a request with dryRun in it, as JSON. An empty one stays so: then the query counts.
func Body(request *asked.Request, contentType string, from io.Reader) ([]byte, error) {
	text, err := Read(from)
	if err != nil || len(text) == 0 {
		return text, err
	}
	if text, err = asJSON(contentType, text); err != nil {
		return nil, err
	}
	if eviction(request) {
		return evict(text)
	}
	var options metav1.DeleteOptions
	if err := decode(text, &options); err != nil {
		return nil, err
	}
	options.DryRun = all
	return json.Marshal(options)
}

// Read reads up to Bound.
func Read(from io.Reader) ([]byte, error) {
	if from == nil {
		return nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(from, Bound+1))
	if err == nil && len(text) > Bound {
		err = ErrTooLarge
	}
	return text, err
}

// evictionBody is policy/v1's and policy/v1beta1's Eviction.
type evictionBody struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	DeleteOptions     *metav1.DeleteOptions `json:"deleteOptions,omitempty"`
}

func evict(text []byte) ([]byte, error) {
	var body evictionBody
	if err := decode(text, &body); err != nil {
		return nil, err
	}
	if body.DeleteOptions == nil {
		body.DeleteOptions = &metav1.DeleteOptions{}
	}
	body.DeleteOptions.DryRun = all
	return json.Marshal(body)
}

// decode reads as the API server does: by case, and nothing after the end.
func decode(text []byte, into any) error {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return ErrBody
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, into); err != nil {
		return ErrBody
	}
	return nil
}

func asJSON(contentType string, text []byte) ([]byte, error) {
	media := "application/json"
	if contentType != "" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, ErrMedia
		}
	}
	switch media {
	case "application/json":
		return text, nil
	case "application/yaml":
		text, err := yaml.YAMLToJSON(text)
		if err != nil {
			return nil, ErrBody
		}
		return text, nil
	default:
		return nil, ErrMedia
	}
}

// Asked says whether the command itself asked for a dry run. body is what HasOptions speaks of, nil where there is none.
func Asked(request *asked.Request, contentType string, body []byte) bool {
	if request.Method != http.MethodDelete || len(body) == 0 {
		return len(request.Query["dryRun"]) > 0 && request.Query["dryRun"][0] == metav1.DryRunAll
	}
	var options metav1.DeleteOptions
	text, err := asJSON(contentType, body)
	if err != nil || decode(text, &options) != nil {
		return false
	}
	return len(options.DryRun) > 0 && options.DryRun[0] == metav1.DryRunAll
}
