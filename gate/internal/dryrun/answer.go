package dryrun

import (
	"encoding/json"
	"net/http"

	"gate/internal/asked"
)

// Warning is what every answer to a change that was only tried says; clients such as kubectl show it.
const Warning = `299 - "this run is a dry run: nothing was changed"`

// LargestAnswer is far over the largest object that the API server stores.
const LargestAnswer = 8 << 20

// IsWaitedFor says whether a client may wait for what the request does: `kubectl delete` does, for the end of an object
// with the uid that the answer has.
func IsWaitedFor(request *asked.Request) bool {
	return request.Method == http.MethodDelete && request.Object() != ""
}

// WithoutUID returns an answer to a DELETE without the uid of what was not deleted, so that nobody waits for its end.
// What is not an object in JSON stays as it is.
func WithoutUID(answer []byte) []byte {
	var whole map[string]json.RawMessage
	if json.Unmarshal(answer, &whole) != nil {
		return answer
	}
	for _, name := range []string{"metadata", "details"} {
		var part map[string]json.RawMessage
		if json.Unmarshal(whole[name], &part) != nil || part["uid"] == nil {
			continue
		}
		delete(part, "uid")
		text, err := json.Marshal(part)
		if err != nil {
			return answer
		}
		whole[name] = text
	}
	text, err := json.Marshal(whole)
	if err != nil {
		return answer
	}
	return append(text, '\n')
}
