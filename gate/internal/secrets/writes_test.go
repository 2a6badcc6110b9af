package secrets

import (
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"gate/internal/asked"
)

func request(t testing.TB, line string) *asked.Request {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, target, nil)
	r.Host = "gate"
	read, err := asked.Read(r, "gate")
	if err != nil {
		t.Fatal(err)
	}
	return read
}

const (
	target  = "/api/v1/namespaces/a/secrets/x"
	patch   = "PATCH " + target
	put     = "PUT " + target
	post    = "POST /api/v1/namespaces/a/secrets"
	asJSON  = "application/json"
	asPatch = "application/json-patch+json"
)

func TestAWriteIsSentAsItIs(t *testing.T) {
	for _, one := range [][3]string{
		{post, asJSON, `{"data":{"a":"aHVudGVyMg=="},"stringData":{"b":"hunter2"}}`}, {post, "", `{"data":{}}`},
		{put, "application/yaml", "stringData:\n  a: hunter2\n"}, {patch, "application/apply-patch+yaml", "data: {a: aHVudGVyMg==}"},
		{patch, "application/merge-patch+json", `{"data":{"a":null}}`}, {patch, "application/strategic-merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`},
		{patch, "application/merge-patch+json; charset=utf-8", `{"metadata":{"annotations":null}}`}, {"DELETE " + target, asJSON, `{"kind":"DeleteOptions"}`},
		{"DELETE " + target, "", ""}, {post, asJSON, `{"metadata":{"name":"sh.helm.release.v1.web.v1"},"data":{"release":"aHVudGVyMg=="}}`},
	} {
		got, err := Write(request(t, one[0]), one[1], strings.NewReader(one[2]))
		if err != nil || string(got) != one[2] {
			t.Errorf("%q: %v %q", one, err, got)
		}
	}
}

func TestAJSONPatchMayOnlyWrite(t *testing.T) {
	got, err := Write(request(t, patch), asPatch, strings.NewReader(
		`[{"op":"test","op":"add","path":"/data/a","value":"aHVudGVyMg=="},{"op":"remove","path":"/data/b"}]`))
	if err != nil || string(got) != `[{"op":"add","path":"/data/a","value":"aHVudGVyMg=="},{"op":"remove","path":"/data/b"}]` {
		t.Errorf("%v %s", err, got)
	}
	for _, text := range []string{
		`[{"op":"copy","from":"/data/password","path":"/metadata/annotations/x"}]`, `[{"op":"move","from":"/data/password","path":"/metadata/labels/x"}]`,
		`[{"op":"test","path":"/data/password","value":"aHVudGVyMg=="}]`, `[{"op":"add","op":"copy","from":"/data","path":"/metadata/annotations"}]`,
		`[{"op":"add","from":"/data/password","path":"/metadata/labels/x","value":"a"}]`, `[{"op":"Copy"}]`, `[{"OP":"copy"}]`, `[{}]`,
		`[{"op":"replace","path":"/data/a","value":"KioqKg=="}]`, `[{"op":"add","path":"/data","value":{"a":"KioqKg=="}}]`,
		`[{"op":"add","path":"/stringData/a","value":"****"}]`,
	} {
		if got, err := Write(request(t, patch), asPatch, strings.NewReader(text)); !errors.Is(err, ErrWouldHarm) {
			t.Errorf("%s: %v %s", text, err, got)
		}
	}
}

func TestAMaskIsNotStored(t *testing.T) {
	release, _ := maskRelease([]byte(base64.StdEncoding.EncodeToString([]byte(`{"name":"web"}`))))
	for _, one := range [][3]string{
		{put, asJSON, `{"data":{"a":"KioqKioqKg=="}}`}, {post, asJSON, `{"stringData":{"a":"***"}}`}, {patch, "application/merge-patch+json", `{"data":{"a":"Kg=="}}`},
		{put, "application/yaml", "data: {a: KioqKg==}"}, {patch, "application/apply-patch+yaml", "data: {a: KioqKg==}"},
		{put, asJSON, `{"data":{"release":"` + base64.StdEncoding.EncodeToString(release) + `"}}`},
		{post, asJSON, `{"metadata":{"name":"sh.helm.release.v1.web.v2"},"data":{"release":"aHVudGVyMg=="}}`},
		{"DELETE /api/v1/namespaces/a/secrets/sh.helm.release.v1.web.v1", "", ""},
	} {
		if got, err := Write(request(t, one[0]), one[1], strings.NewReader(one[2])); !errors.Is(err, ErrWouldHarm) {
			t.Errorf("%q: %v %s", one, err, got)
		}
	}
}

// protobuf is a Secret with one value, as client-go sends it.
func protobuf(name, key, value string) string {
	part := func(tag byte, text string) string { return string([]byte{tag, byte(len(text))}) + text }
	secret := part(0x0a, part(0x0a, name)) + part(0x12, part(0x0a, key)+part(0x12, value)) + part(0x1a, "Opaque")
	return "k8s\x00" + part(0x0a, part(0x0a, "v1")+part(0x12, "Secret")) + part(0x12, secret)
}

func TestWhatClientsInGoSendIsReadToo(t *testing.T) {
	const media = "application/vnd.kubernetes.protobuf"
	good := protobuf("x", "a", "hunter2")
	if got, err := Write(request(t, post), media, strings.NewReader(good)); err != nil || string(got) != good {
		t.Errorf("%v %q", err, got)
	}
	for _, text := range []string{protobuf("x", "a", "*****"), protobuf("sh.helm.release.v1.web.v2", "release", "x")} {
		if got, err := Write(request(t, post), media, strings.NewReader(text)); !errors.Is(err, ErrWouldHarm) {
			t.Errorf("%q: %v %q", text, err, got)
		}
	}
}

func TestABodyThatCannotBeReadIsNotSent(t *testing.T) {
	for _, one := range []struct {
		media, text string
		want        error
	}{
		{"application/vnd.kubernetes.protobuf", "{}", ErrBody}, {"application/cbor", "\xa0", ErrMedia}, {"application/apply-patch+cbor", "\xa0", ErrMedia},
		{";", "{}", ErrMedia}, {"text/plain", "{}", ErrMedia}, {asJSON, "[", ErrBody}, {asJSON, "k8s\x00", ErrBody}, {asPatch, "{}", ErrBody},
		{asPatch, `[{"op":"add"}] x`, ErrBody}, {"application/yaml", "\t:", ErrBody}, {asJSON, strings.Repeat(" ", LargestWrite+1), ErrTooLarge},
	} {
		if got, err := Write(request(t, patch), one.media, strings.NewReader(one.text)); !errors.Is(err, one.want) {
			t.Errorf("%s %.20q: %v %s", one.media, one.text, err, got)
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add(asPatch, `[{"op":"add","path":"/data/a","value":"aHVudGVyMg=="}]`)
	f.Add(asPatch, `[{"op":"copy","from":"/data/a","path":"/metadata/annotations/x"}]`)
	f.Add("application/yaml", "data: {a: KioqKg==}")
	f.Add("application/merge-patch+json", `{"data":{"a":"KioqKg=="}}`)
	f.Fuzz(func(t *testing.T, media, text string) {
		got, err := Write(request(t, patch), media, strings.NewReader(text))
		if err != nil {
			return
		}
		if strings.HasPrefix(media, asPatch) && (strings.Contains(string(got), `"op":"copy"`) || strings.Contains(string(got), `"from":`)) {
			t.Fatalf("%q is sent as %q", text, got)
		}
		if again, err := Write(request(t, patch), media, strings.NewReader(string(got))); err != nil || string(again) != string(got) {
			t.Fatalf("%q is sent as %q, then as %q", text, got, again)
		}
	})
}
