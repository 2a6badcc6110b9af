package secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bound is the most of an answer that is held at once: one object of a list, one event of a watch, or an answer that
// is neither. A Secret may have 1 MiB, in base64.
const Bound = 8 << 20

var (
	errTooLarge = fmt.Errorf("an object of more than %d MiB", Bound>>20)
	errForm     = errors.New("it does not have the form of an object, a list or a table")
)

// bounded is a reader that gives no more than Bound bytes before the next call of again.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) again() { b.left = Bound }

func (b *bounded) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}

// members calls visit for each member of the object that comes next; visit must read the member's value.
func members(decoder *json.Decoder, visit func(name string) error) error {
	if err := expect(decoder, '{'); err != nil {
		return err
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return errForm
		}
		if err := visit(name); err != nil {
			return err
		}
	}
	return expect(decoder, '}')
}

func expect(decoder *json.Decoder, delimiter json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != delimiter {
		return errForm
	}
	return nil
}

// skip reads the next value and keeps nothing of it.
func skip(decoder *json.Decoder) error {
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// only returns the members of an object that have one of these names.
func only(raw json.RawMessage, names ...string) (map[string]json.RawMessage, error) {
	all, err := object(raw)
	if err != nil {
		return nil, err
	}
	kept := make(map[string]json.RawMessage, len(names))
	for _, name := range names {
		if value, ok := all[name]; ok {
			kept[name] = value
		}
	}
	return kept, nil
}

// object reads a JSON object; null is one without members.
func object(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var read map[string]json.RawMessage
	if err := json.Unmarshal(raw, &read); err != nil {
		return nil, errForm
	}
	return read, nil
}

// text reads a JSON string; anything else is "".
func text(raw json.RawMessage) string {
	var read string
	if json.Unmarshal(raw, &read) != nil {
		return ""
	}
	return read
}

func encode(value any) (json.RawMessage, error) { return json.Marshal(value) }
