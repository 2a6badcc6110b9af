package secrets

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
)

const (
	helmType = "helm.sh/release.v1"
	helmKey  = "release"
	helmName = "sh.helm.release.v1."
	// Manifest is what a masked release has for one: so one that comes back is known.
	manifest = "# masked: this run does not see what a release holds\n"
	// largestRelease is a release without compression: the most that is read of one.
	largestRelease = 64 << 20
	longestPhrase  = 128
)

// release is what stays of one of Helm's releases: what `helm list`, `status` and `history` show.
type release struct {
	Name        string                     `json:"name,omitempty"`
	Namespace   string                     `json:"namespace,omitempty"`
	Version     json.RawMessage            `json:"version,omitempty"`
	ApplyMethod json.RawMessage            `json:"apply_method,omitempty"`
	Info        map[string]json.RawMessage `json:"info,omitempty"`
	Chart       map[string]any             `json:"chart,omitempty"`
	Manifest    string                     `json:"manifest"`
}

// maskRelease returns a stored release without values, manifests, templates, notes and hooks; false when it is none.
func maskRelease(stored []byte) ([]byte, bool) {
	decoder, err := openRelease(stored)
	if err != nil {
		return nil, false
	}
	kept := release{Manifest: manifest}
	err = members(decoder, func(name string) error {
		switch name {
		case "name":
			return decoder.Decode(&kept.Name)
		case "namespace":
			return decoder.Decode(&kept.Namespace)
		case "version":
			return decoder.Decode(&kept.Version)
		case "apply_method":
			return decoder.Decode(&kept.ApplyMethod)
		case "info":
			return keepInfo(decoder, &kept)
		case "chart":
			return keepChart(decoder, &kept)
		default:
			return skip(decoder)
		}
	})
	if err != nil {
		return nil, false
	}
	return closeRelease(kept)
}

// openRelease: base64 of JSON, which has been gzip's since Helm 3.
func openRelease(stored []byte) (*json.Decoder, error) {
	plain, err := base64.StdEncoding.DecodeString(string(stored))
	if err != nil {
		return nil, err
	}
	var reader io.Reader = bytes.NewReader(plain)
	if bytes.HasPrefix(plain, []byte{0x1f, 0x8b, 0x08}) {
		if reader, err = gzip.NewReader(reader); err != nil {
			return nil, err
		}
	}
	return json.NewDecoder(io.LimitReader(reader, largestRelease)), nil
}

func closeRelease(kept release) ([]byte, bool) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if json.NewEncoder(writer).Encode(kept) != nil || writer.Close() != nil {
		return nil, false
	}
	return []byte(base64.StdEncoding.EncodeToString(packed.Bytes())), true
}

func keepInfo(decoder *json.Decoder, kept *release) error {
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	info, err := only(raw, "first_deployed", "last_deployed", "deleted", "status")
	if err != nil {
		return err
	}
	all, err := object(raw)
	if err != nil {
		return err
	}
	if info["description"], err = encode(phrase(text(all["description"]))); err != nil {
		return err
	}
	kept.Info = info
	return nil
}

// phrase is a release's description up to where an error message of the API server would begin: that can quote values.
func phrase(description string) string {
	const failed = "failed"
	if before, _, ok := strings.Cut(description, failed+":"); ok {
		return before + failed
	}
	if len(description) > longestPhrase {
		return ""
	}
	return description
}

func keepChart(decoder *json.Decoder, kept *release) error {
	return members(decoder, func(name string) error {
		if name != "metadata" {
			return skip(decoder)
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return err
		}
		metadata, err := only(raw, "name", "version", "appVersion", "apiVersion", "type", "description", "kubeVersion",
			"home", "icon", "deprecated")
		kept.Chart = map[string]any{"metadata": metadata}
		return err
	})
}

// isMasked says whether a stored release is one that was shown masked.
func isMasked(stored []byte) bool {
	decoder, err := openRelease(stored)
	if err != nil {
		return false
	}
	found := ""
	err = members(decoder, func(name string) error {
		if name == "manifest" {
			return decoder.Decode(&found)
		}
		return skip(decoder)
	})
	return err == nil && found == manifest
}
