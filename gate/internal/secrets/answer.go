package secrets

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Answer reads one JSON document and writes it masked. Of a list or a table it holds one member at a time; when that
// fails in the middle, what was written has no end.
func (m Masker) Answer(from io.Reader, to io.Writer) error {
	input := &bounded{from: from}
	input.again()
	decoder := json.NewDecoder(input)
	output := bufio.NewWriterSize(to, 32<<10)
	document := answer{Masker: m, input: input, decoder: decoder, output: output, kept: map[string]json.RawMessage{}}
	if err := members(decoder, document.member); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the answer's end")
	}
	if err := document.finish(); err != nil {
		return err
	}
	return output.Flush()
}

// Document masks one that is at hand.
func (m Masker) Document(raw json.RawMessage) (json.RawMessage, error) {
	var masked bytes.Buffer
	err := m.Answer(bytes.NewReader(raw), &masked)
	return masked.Bytes(), err
}

type answer struct {
	Masker
	input   *bounded
	decoder *json.Decoder
	output  *bufio.Writer
	kept    map[string]json.RawMessage // what has come besides items or rows
	many    bool                       // there were items or rows: the answer has been begun
}

func (a *answer) member(name string) error {
	if name == "items" || name == "rows" {
		return a.each(name)
	}
	var value json.RawMessage
	if err := a.decoder.Decode(&value); err != nil {
		return err
	}
	a.kept[name] = value
	return nil
}

// each writes the members of a list as they come.
func (a *answer) each(name string) error {
	if a.many {
		return errForm
	}
	a.many = true
	token, err := a.decoder.Token()
	if err != nil {
		return err
	}
	if token != nil && token != json.Delim('[') {
		return errForm
	}
	if _, err = a.output.WriteString(`{"` + name + `":[`); err != nil || token == nil {
		return a.after(err)
	}
	for first := true; a.decoder.More(); first = false {
		a.input.again()
		var one json.RawMessage
		if err = a.decoder.Decode(&one); err != nil {
			return err
		}
		if name == "items" {
			one, err = a.Secret(one)
		} else {
			one, err = a.row(one, a.kept["columnDefinitions"])
		}
		if err != nil {
			return err
		}
		if !first {
			_ = a.output.WriteByte(',') // the next write has the same error
		}
		if _, err = a.output.Write(one); err != nil {
			return err
		}
	}
	a.input.again()
	return a.after(expect(a.decoder, ']'))
}

func (a *answer) after(err error) error {
	if err == nil {
		_, err = a.output.WriteString("]")
	}
	return err
}

// finish writes what came besides items or rows, or all when there were none.
func (a *answer) finish() error {
	if !a.many {
		whole, err := encode(a.kept)
		if err != nil {
			return err
		}
		if isStatus(a.kept) {
			whole, err = status(whole)
		} else {
			whole, err = a.Secret(whole)
		}
		if err != nil {
			return err
		}
		_, err = a.output.Write(append(whole, '\n'))
		return err
	}
	for _, name := range []string{"kind", "apiVersion", "metadata", "columnDefinitions"} {
		value, ok := a.kept[name]
		if !ok {
			continue
		}
		var err error
		switch name {
		case "kind", "apiVersion":
			value, err = encode(text(value))
		case "metadata":
			value, err = a.metadata(value)
		}
		if err != nil {
			return err
		}
		if _, err = a.output.WriteString(`,"` + name + `":` + string(value)); err != nil {
			return err
		}
	}
	_, err := a.output.WriteString("}\n")
	return err
}

// Watch reads the events of a watch and writes each masked, at once.
func (m Masker) Watch(from io.Reader, to io.Writer) error {
	input := &bounded{from: from}
	decoder := json.NewDecoder(input)
	for {
		input.again()
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		masked, err := m.Document(event.Object)
		if err != nil {
			return err
		}
		event.Object = masked
		line, err := encode(event)
		if err != nil {
			return err
		}
		if _, err = to.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}
