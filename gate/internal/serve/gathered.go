package serve

import (
	"io"
	"strings"

	"gate/internal/asked"
)

// gathered fills the buffer that it is read into before it returns. Over HTTP/2 an answer comes in pieces of 16 KiB at
// most, and each would be a chunk, a flush and a system call of its own: 1 GiB takes twice as long so. It is for answers
// that end; what lives on its first bytes (a watch, a log) must not wait for more.
type gathered struct{ io.ReadCloser }

func (g gathered) Read(buffer []byte) (int, error) {
	read := 0
	for read < len(buffer) {
		n, err := g.ReadCloser.Read(buffer[read:])
		read += n
		if err != nil {
			return read, err
		}
	}
	return read, nil
}

// ends says whether the answer is one whole: an object, a list, a description of the API. What is behind any subresource
// but those of objects may go on for ever.
func ends(request *asked.Request) bool {
	if !request.IsResourceRequest {
		return strings.HasPrefix(request.Path, "/openapi/") || strings.HasPrefix(request.Path, "/api")
	}
	switch request.Subresource {
	case "", "status", "scale":
		return request.Verb != "watch" && request.Upgrade == ""
	default:
		return false
	}
}
