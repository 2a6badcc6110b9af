package secrets

import (
	"mime"
	"slices"
	"strings"
)

// Accept is the Accept header for a request whose answer is to be masked: what the client would take, in its order, as
// JSON. Clients decode by the type of the answer, so one that asked for protobuf alone understands it too.
func Accept(lines []string) string {
	var accepted []string
	for _, line := range lines {
		for clause := range strings.SplitSeq(line, ",") {
			media, parameters, err := mime.ParseMediaType(strings.TrimSpace(clause))
			if err != nil || !strings.HasPrefix(media, "application/") {
				continue
			}
			json := "application/json"
			for _, name := range []string{"as", "g", "v"} {
				if value := parameters[name]; value != "" && plainWord(value) {
					json += ";" + name + "=" + value
				}
			}
			if !slices.Contains(accepted, json) {
				accepted = append(accepted, json)
			}
		}
	}
	if len(accepted) == 0 {
		return "application/json"
	}
	return strings.Join(accepted, ",")
}

func plainWord(value string) bool {
	return !strings.ContainsFunc(value, func(char rune) bool {
		return (char < 'a' || char > 'z') && (char < 'A' || char > 'Z') && (char < '0' || char > '9') && char != '.'
	})
}
