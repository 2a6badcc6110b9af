// Package secrets takes the values out of Secrets: out of every form in which the API server answers with one, and
// keeps a command from writing what it was shown instead of a value.
//
// It is closed: what is not known to hold no value is masked or left out, and an answer that cannot be read is refused.
package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Masker masks one kind of resource called `secrets`.
type Masker struct {
	// Core is for Kubernetes' own Secrets. Of others nobody knows where they have their values: it could be anywhere
	// but in their metadata.
	Core bool
}

// Secret masks one object: a Secret, or its metadata alone.
func (m Masker) Secret(raw json.RawMessage) (json.RawMessage, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	masked := make(map[string]json.RawMessage, len(members))
	for name, value := range members {
		switch {
		case name == "metadata":
			masked[name], err = m.metadata(value)
		case name == "kind" || name == "apiVersion":
			masked[name], err = encode(text(value))
		case m.Core && name == "type":
			masked[name], err = encode(text(value))
		case m.Core && (name == "data" || name == "stringData"):
			masked[name], err = data(value, text(members["type"]), name == "data")
		default:
			masked[name], err = leaves(value)
		}
		if err != nil {
			return nil, err
		}
	}
	return encode(masked)
}

// data masks the values of `data` (in base64) or of `stringData`.
func data(raw json.RawMessage, kind string, inBase64 bool) (json.RawMessage, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	if members == nil {
		return json.RawMessage("null"), nil
	}
	masked := make(map[string]string, len(members))
	for key, member := range members {
		value := []byte(text(member))
		if inBase64 {
			if decoded, err := base64.StdEncoding.DecodeString(string(value)); err == nil {
				value = decoded
			}
		}
		shown := stars(len(value))
		if kind == helmType && key == helmKey && inBase64 {
			if release, ok := maskRelease(value); ok {
				shown = release
			}
		}
		masked[key] = string(shown)
		if inBase64 {
			masked[key] = base64.StdEncoding.EncodeToString(shown)
		}
	}
	return encode(masked)
}

// stars is what is shown instead of a value: as many bytes, so that sizes stay.
func stars(length int) []byte { return bytes.Repeat([]byte{'*'}, length) }

// leaves masks every value in a tree of which nothing is known but its form.
func leaves(raw json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, errForm
	}
	return encode(leaf(tree))
}

func leaf(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			value[name] = leaf(member)
		}
		return value
	case []any:
		for i, member := range value {
			value[i] = leaf(member)
		}
		return value
	case string:
		return strings.Repeat("*", len(value))
	case json.Number:
		return 0
	default: // a boolean or nothing
		return value
	}
}
