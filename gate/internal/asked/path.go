package asked

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pchar of RFC 3986 without the semicolon, and the slash: everything else must come percent-encoded, or not at all.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,=:@/"

// separators are what a second parser, or a second decoding, could take for an end of a segment, a path or a name.
const separators = "/\\;?#%"

// decoded returns the path that a request target means, or an error for one that two programs on its way could read
// differently: the API server's own path, or a name, must not depend on who decodes it.
func decoded(target string) (string, error) {
	raw, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(raw, "/") {
		return "", errors.New("the request target must begin with a slash")
	}
	var path strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' {
			octet, ok := hex(raw[i+1:])
			if !ok {
				return "", errors.New("a percent sign in the path is not followed by two digits")
			}
			if octet < ' ' || octet == 0x7f || strings.IndexByte(separators, octet) >= 0 {
				return "", fmt.Errorf("%s in the path: a separator must not be encoded", raw[i:i+3])
			}
			path.WriteByte(octet)
			i += 2
			continue
		}
		if strings.IndexByte(plain, raw[i]) < 0 {
			return "", fmt.Errorf("%q in the path", raw[i])
		}
		path.WriteByte(raw[i])
	}
	return path.String(), segments(path.String())
}

func segments(path string) error {
	if !utf8.ValidString(path) {
		return errors.New("the path is not UTF-8")
	}
	for _, char := range path {
		// Full-width dots and slashes are punctuation: some programs make them narrow.
		if char > unicode.MaxASCII && !unicode.IsLetter(char) && !unicode.IsDigit(char) && !unicode.IsMark(char) {
			return fmt.Errorf("%U in the path", char)
		}
	}
	names := strings.Split(path[1:], "/")
	for i, name := range names {
		if name == "" && i < len(names)-1 {
			return errors.New("an empty segment in the path")
		}
		if name != "" && strings.Trim(name, ". ") == "" {
			return errors.New("a dot segment in the path")
		}
	}
	for _, prefix := range []string{"api", "apis"} {
		if strings.EqualFold(names[0], prefix) && names[0] != prefix {
			return fmt.Errorf("%q is not %q", names[0], prefix)
		}
	}
	return nil
}

func hex(digits string) (byte, bool) {
	if len(digits) < 2 {
		return 0, false
	}
	high, low := strings.IndexByte(hexDigits, lower(digits[0])), strings.IndexByte(hexDigits, lower(digits[1]))
	return byte(high<<4 | low), high >= 0 && low >= 0
}

const hexDigits = "0123456789abcdef"

func lower(char byte) byte {
	if 'A' <= char && char <= 'F' {
		return char + ('a' - 'A')
	}
	return char
}
