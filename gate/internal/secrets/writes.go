package secrets

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"sigs.k8s.io/yaml"

	"gate/internal/asked"
	"gate/internal/wire"
)

// LargestWrite is the API server's own limit of a body.
const LargestWrite = 3 << 20

// Errors of Write that mean another answer than 403.
var (
	ErrTooLarge = errors.New("the body of a write to Secrets may have at most 3 MiB")
	ErrMedia    = errors.New("while Secrets are masked, writes to them must be JSON, YAML or protobuf, one of Kubernetes' patches included")
	ErrBody     = errors.New("the body cannot be read as what its type says")
	// ErrWouldHarm is in every refusal of a write that could be read and must not be made.
	ErrWouldHarm = errors.New("values of Secrets are masked in this run")
)

// Write checks a write to Secrets while they are masked, and returns its body as it is to be sent. It refuses what would
// store the masks in place of the values, and a patch that would copy or compare a value that must not be seen.
func Write(request *asked.Request, contentType string, from io.Reader) ([]byte, error) {
	if request.Verb == "delete" && strings.HasPrefix(request.Object(), helmName) {
		return nil, harm("a release whose manifest is masked cannot be uninstalled: what it installed would stay")
	}
	body, err := read(from)
	if err != nil || len(body) == 0 || request.Method == http.MethodDelete {
		return body, err
	}
	media := "application/json"
	if contentType != "" {
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, ErrMedia
		}
	}
	switch media {
	case "application/json-patch+json":
		return jsonPatch(body)
	case "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json":
		return checked(request, body, body, fromJSON)
	case "application/yaml", "application/apply-patch+yaml":
		text, err := yaml.YAMLToJSON(body)
		if err != nil {
			return nil, ErrBody
		}
		return checked(request, body, text, fromJSON)
	case "application/vnd.kubernetes.protobuf":
		return checked(request, body, body, fromProtobuf)
	default:
		return nil, ErrMedia
	}
}

func checked(request *asked.Request, body, text []byte, read func([]byte) (*written, error)) ([]byte, error) {
	found, err := read(text)
	if err == nil {
		err = found.check(request)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

func read(from io.Reader) ([]byte, error) {
	if from == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(from, LargestWrite+1))
	if err == nil && len(body) > LargestWrite {
		err = ErrTooLarge
	}
	return body, err
}

// written is what matters of a Secret that is to be written.
type written struct {
	name   string
	values map[string][]byte // without base64
}

func fromJSON(body []byte) (*written, error) {
	var given struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Data       map[string]any `json:"data"`
		StringData map[string]any `json:"stringData"`
	}
	if err := json.Unmarshal(body, &given); err != nil {
		return nil, ErrBody
	}
	found := &written{given.Metadata.Name, map[string][]byte{}}
	for _, values := range []map[string]any{given.StringData, given.Data} {
		for key, value := range values {
			if holdsMask(value) {
				return nil, maskError(key)
			}
			text, _ := value.(string)
			if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
				found.values[key] = decoded
			}
		}
	}
	return found, nil
}

// fromProtobuf reads what clients in Go send. https://github.com/kubernetes/api core/v1/generated.proto, Secret
func fromProtobuf(body []byte) (*written, error) {
	const data, stringData = 2, 4
	object, _, ok := wire.Object(body)
	if !ok {
		return nil, ErrBody
	}
	found := &written{string(wire.First(wire.First(object, wire.Metadata), wire.MetadataName)), map[string][]byte{}}
	for number, entry := range wire.Fields(object) {
		if number != data && number != stringData {
			continue
		}
		key, value := string(wire.First(entry, wire.EntryKey)), wire.First(entry, wire.EntryValue)
		if isStars(string(value)) {
			return nil, maskError(key)
		}
		found.values[key] = value
	}
	return found, nil
}

// check refuses what would store the mask of a release, or of it what would end half done.
func (w *written) check(request *asked.Request) error {
	if isMasked(w.values[helmKey]) {
		return harm("this release was read masked: stored so it would have lost its values and manifests")
	}
	later := strings.HasPrefix(w.name, helmName) && !strings.HasSuffix(w.name, ".v1")
	if request.Verb == "create" && later {
		return harm("a release cannot be upgraded or rolled back while the one before it is masked")
	}
	return nil
}

func harm(format string, values ...any) error {
	return fmt.Errorf("%w: %s", ErrWouldHarm, fmt.Sprintf(format, values...))
}

func maskError(key string) error {
	return harm("%.100q holds the mask that was shown for its value: storing it would destroy the value", key)
}

// holdsMask finds a mask, plain or in base64, anywhere in a value.
func holdsMask(value any) bool {
	switch value := value.(type) {
	case string:
		decoded, err := base64.StdEncoding.DecodeString(value)
		return isStars(value) || (err == nil && isStars(string(decoded)))
	case map[string]any:
		for _, member := range value {
			if holdsMask(member) {
				return true
			}
		}
	}
	return false
}

func isStars(text string) bool { return text != "" && strings.Trim(text, "*") == "" }

// jsonPatch lets through what writes. `copy` and `move` would bring a value to where it can be read, `test` would say
// whether a guess is right. It is encoded anew, so that there is one way to read it.
func jsonPatch(body []byte) ([]byte, error) {
	var operations []map[string]json.RawMessage
	if err := json.Unmarshal(body, &operations); err != nil {
		return nil, ErrBody
	}
	for _, operation := range operations {
		kind := text(operation["op"])
		if kind != "add" && kind != "replace" && kind != "remove" {
			return nil, harm("%.20q in a JSON patch of Secrets whose values are masked", kind)
		}
		if _, ok := operation["from"]; ok {
			return nil, harm("a JSON patch with a `from` where none belongs")
		}
		var value any
		if raw, ok := operation["value"]; ok && json.Unmarshal(raw, &value) != nil {
			return nil, ErrBody
		}
		if holdsMask(value) {
			return nil, maskError(text(operation["path"]))
		}
	}
	return json.Marshal(operations)
}
