// Package config reads the gate's one JSON file. Whatever it does not know stops it: a rule that is not understood must
// not be a rule that is not kept.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Access is what a run may do, before `allow` and `deny`.
type Access string

// Secrets is what a run may see of Secrets.
type Secrets string

// The words of the file. There is no default: whoever writes the file decides.
const (
	Full     Access = "full"
	DryRun   Access = "dry_run"
	ReadOnly Access = "read_only"

	Open   Secrets = "full"
	Masked Secrets = "masked"
	None   Secrets = "none"
)

// Context is one context of the kubeconfig and the port on 127.0.0.1 that stands for it.
type Context struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// Entry is one entry of `allow` or `deny`, in the terms of a rule of Kubernetes' RBAC. Name is its place in the policy,
// for messages and the record.
type Entry struct {
	Name            string   `json:"name"`
	Verbs           []string `json:"verbs"`
	APIGroups       []string `json:"apiGroups"`
	Resources       []string `json:"resources"`
	ResourceNames   []string `json:"resourceNames"`
	Namespaces      []string `json:"namespaces"`
	NonResourceURLs []string `json:"nonResourceURLs"`
}

// Rule is what one rule of the policy says, or the request itself. A nil Allow allows everything; one without entries
// allows nothing.
type Rule struct {
	Name    string  `json:"name"`
	Access  Access  `json:"access"`
	Secrets Secrets `json:"secrets"`
	Allow   []Entry `json:"allow"`
	Deny    []Entry `json:"deny"`
}

// Configuration is what the gate is told. Every one of the rules holds, for every context.
type Configuration struct {
	Contexts []Context `json:"contexts"`
	Rules    []Rule    `json:"rules"`
}

// Read checks everything that can be checked without the kubeconfig.
func Read(text []byte) (*Configuration, error) {
	if err := unambiguous(text); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var read Configuration
	if err := decoder.Decode(&read); err != nil {
		return nil, fmt.Errorf("not a configuration: %w", err)
	}
	if err := read.check(); err != nil {
		return nil, err
	}
	return &read, nil
}

// unambiguous refuses what Go's decoder forgives and another reader may take differently: a field twice, a field in
// another case, text after the end.
func unambiguous(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := value(decoder, ""); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the configuration's end")
	}
	return nil
}

func value(decoder *json.Decoder, place string) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("not a configuration: %w", err)
	}
	switch token {
	case json.Delim('{'):
		seen := map[string]bool{}
		for decoder.More() {
			token, err = decoder.Token()
			if err != nil {
				return fmt.Errorf("not a configuration: %w", err)
			}
			name, _ := token.(string)
			if seen[name] {
				return fmt.Errorf("%s%s is there twice", place, name)
			}
			if !fields[name] {
				return fmt.Errorf("%s%s is not a field of the configuration", place, name)
			}
			seen[name] = true
			if err = value(decoder, place+name+"."); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for decoder.More() {
			if err = value(decoder, place); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = decoder.Token()
	return err
}

var fields = map[string]bool{
	"contexts": true, "name": true, "port": true,
	"rules": true, "access": true, "secrets": true, "allow": true, "deny": true,
	"verbs": true, "apiGroups": true, "resources": true, "resourceNames": true, "namespaces": true,
	"nonResourceURLs": true,
}
