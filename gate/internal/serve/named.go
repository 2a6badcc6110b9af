package serve

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"

	"gate/internal/asked"
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
	if unknown, ok := bytes.CutPrefix(start, []byte("k8s\x00")); ok {
		return nameInProtobuf(unknown)
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

// nameInProtobuf reads a runtime.Unknown (1 TypeMeta, 2 the object): https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
// An object begins with its ObjectMeta (1), which begins with its name (1); a Status has its details (5) with a name (1).
func nameInProtobuf(unknown []byte) string {
	const typeMeta, kind, object, metadata, details, name = 1, 2, 2, 1, 5, 1
	if string(field(field(unknown, typeMeta), kind)) == "Status" {
		return string(field(field(field(unknown, object), details), name))
	}
	return string(field(field(field(unknown, object), metadata), name))
}

// field returns the bytes of a field of a message, as much as there is of them; nil where there is none.
func field(message []byte, number uint64) []byte {
	const varint, fixed64, counted, fixed32 = 0, 1, 2, 5
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil
		}
		message = message[n:]
		var length uint64
		switch tag & 7 {
		case varint:
			_, n = binary.Uvarint(message)
			length = uint64(max(n, 0))
		case fixed64:
			length = 8
		case fixed32:
			length = 4
		case counted:
			if length, n = binary.Uvarint(message); n <= 0 {
				return nil
			}
			message = message[n:]
			if tag>>3 == number {
				return message[:min(length, uint64(len(message)))]
			}
		default:
			return nil
		}
		if length == 0 && tag&7 != counted {
			return nil
		}
		message = message[min(length, uint64(len(message))):]
	}
	return nil
}
