// Package wire reads fields of protobuf messages, as far as the gate has to: names and keys, of messages whose types it
// does not have. https://protobuf.dev/programming-guides/encoding/
package wire

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Fields of Kubernetes' messages. https://github.com/kubernetes/api and /apimachinery, generated.proto
const (
	UnknownTypeMeta = 1
	UnknownRaw      = 2
	TypeMetaKind    = 2
	Metadata        = 1 // of every object
	MetadataName    = 1
	StatusDetails   = 5
	DetailsName     = 1
	EntryKey        = 1 // of every map
	EntryValue      = 2
)

// Object returns the object in a body of Kubernetes' own framing, and its kind; false when it is none.
func Object(body []byte) (object []byte, kind string, ok bool) {
	unknown, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	if !ok {
		return nil, "", false
	}
	return First(unknown, UnknownRaw), string(First(First(unknown, UnknownTypeMeta), TypeMetaKind)), true
}

// First returns the first field with that number, as much as there is of it; nil where there is none.
func First(message []byte, number uint64) []byte {
	for found, value := range Fields(message) {
		if found == number {
			return value
		}
	}
	return nil
}

// Fields are those that have a length: texts, bytes, messages. It stops where the message cannot be read.
func Fields(message []byte) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for len(message) > 0 {
			tag, n := binary.Uvarint(message)
			if n <= 0 {
				return
			}
			message = message[n:]
			length, counted, ok := next(tag, message)
			if !ok {
				return
			}
			if counted > 0 {
				message = message[counted:]
				length = min(length, uint64(len(message)))
				if !yield(tag>>3, message[:length:length]) {
					return
				}
			}
			message = message[min(length, uint64(len(message))):]
		}
	}
}

// next returns how long the value of a field is, and how long the length before it, 0 for a value that has none.
func next(tag uint64, message []byte) (length uint64, counted int, ok bool) {
	const varint, fixed64, bytes, fixed32 = 0, 1, 2, 5
	switch tag & 7 {
	case varint:
		_, n := binary.Uvarint(message)
		return uint64(max(n, 0)), 0, n > 0
	case fixed64:
		return 8, 0, true
	case fixed32:
		return 4, 0, true
	case bytes:
		length, counted = binary.Uvarint(message)
		return length, counted, counted > 0
	default:
		return 0, 0, false
	}
}
