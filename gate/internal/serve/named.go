package serve

import (
	"bytes"
	"encoding/json"
	"net/http"

	"gate/internal/asked"
	"gate/internal/wire"
)

// mostKept is how much of an answer to a create is looked at for the name of what was made: the API server writes it
// at the beginning.
const mostKept = 64 << 10

// needsName says whether only the answer has the name of what the request is about.
func needsName(request *asked.Request) bool {
	return request.IsResourceRequest && request.Method == http.MethodPost && request.Object() == ""
}

// nameIn returns the name in the beginning of an answer: an object's own, or the one that an error is about.
func nameIn(start []byte) string {
	if object, kind, ok := wire.Object(start); ok && kind == "Status" {
		return string(wire.First(wire.First(object, wire.StatusDetails), wire.DetailsName))
	} else if ok {
		return string(wire.First(wire.First(object, wire.Metadata), wire.MetadataName))
	}
	decoder := json.NewDecoder(bytes.NewReader(start))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return ""
	}
	for decoder.More() {
		member, err := decoder.Token()
		if err != nil {
			return ""
		}
		var value struct {
			Name string `json:"name"`
		}
		if member != "metadata" && member != "details" {
			var skipped json.RawMessage
			err = decoder.Decode(&skipped)
		} else {
			err = decoder.Decode(&value)
		}
		if err != nil || value.Name != "" {
			return value.Name
		}
	}
	return ""
}
