package secrets

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=!\"\\<>&\n\x00\xff"

type values [][]byte

// randomSecret makes a random Secret whose annotations have copies of it, and adds its values to seen.
func randomSecret(random *rand.Rand, seen *values) map[string]any {
	data := map[string]any{}
	for range random.IntN(5) {
		value := make([]byte, 4+random.IntN(60))
		for i := range value {
			value[i] = alphabet[random.IntN(len(alphabet))]
		}
		*seen = append(*seen, value)
		data[fmt.Sprintf("key-%d.txt", random.IntN(1000))] = base64.StdEncoding.EncodeToString(value)
	}
	annotations := map[string]any{}
	whole, _ := json.Marshal(map[string]any{"kind": "Secret", "data": data})
	for _, name := range []string{
		"kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "example.com/copy", "banzaicloud.com/last-applied",
	} {
		if random.IntN(2) == 0 {
			annotations[name] = string(whole)
		}
	}
	if random.IntN(2) == 0 && len(data) > 0 {
		last := (*seen)[len(*seen)-1]
		annotations["example.com/short"] = "is " + base64.StdEncoding.EncodeToString(last)
		annotations["example.com/plain"] = "is " + strings.ToValidUTF8(string(last), "") + "!"
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data, "immutable": true,
		"metadata": map[string]any{
			"name": fmt.Sprintf("s-%d", random.IntN(1e6)), "namespace": "a", "resourceVersion": "7", "annotations": annotations,
			"labels": map[string]any{"app": "web"}, "managedFields": []any{map[string]any{"manager": "kubectl"}},
		},
	}
}

// holds says whether a value can be seen in text, as it is, in base64 or as JSON writes it.
func holds(text []byte, all values) []byte {
	for _, value := range all {
		quoted, _ := json.Marshal(string(value))
		for _, form := range [][]byte{value, []byte(base64.RawStdEncoding.EncodeToString(value)), quoted[1 : len(quoted)-1]} {
			if bytes.Contains(text, form) {
				return form
			}
		}
	}
	return nil
}

func masked(t testing.TB, m Masker, document any) []byte {
	t.Helper()
	raw, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := m.Answer(iotest.OneByteReader(bytes.NewReader(raw)), &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out.Bytes()
}

var core = Masker{Core: true}

func TestNoValueOfARandomSecretIsSeenInAnyForm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var seen values
		one, two := randomSecret(random, &seen), randomSecret(random, &seen)
		metadata := map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]}
		forms := map[string]any{
			"single": one,
			"list":   map[string]any{"kind": "SecretList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "9"}, "items": []any{one, two}},
			"table": map[string]any{"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": []any{
				map[string]any{"cells": []any{"x", "Opaque", 3, "5d"}, "object": one}, map[string]any{"cells": []any{"y"}, "object": metadata},
			}, "columnDefinitions": []any{map[string]any{"name": "Name"}}},
			"unknown":  map[string]any{"kind": "Status", "apiVersion": "v2", "spec": one, "items2": []any{two}},
			"rows":     map[string]any{"rows": nil, "data": one["data"]},
			"odd list": map[string]any{"data": one["data"], "items": []any{two}, "metadata": one["metadata"]},
		}
		for name, form := range forms {
			if out := masked(t, core, form); holds(out, seen) != nil {
				t.Fatalf("%s shows %q: %s", name, holds(out, seen), out)
			}
		}
		var stream, out bytes.Buffer
		for _, form := range forms {
			if err := json.NewEncoder(&stream).Encode(map[string]any{"type": "ADDED", "object": form}); err != nil {
				t.Fatal(err)
			}
		}
		if err := core.Watch(&stream, &out); err != nil || holds(out.Bytes(), seen) != nil {
			t.Fatalf("%v: a watch shows %q", err, holds(out.Bytes(), seen))
		}
		if bytes.Count(out.Bytes(), []byte("\n")) != len(forms) {
			t.Fatalf("%d events of %d: %s", bytes.Count(out.Bytes(), []byte("\n")), len(forms), out.Bytes())
		}
	}
}

func TestNamesTypesKeysAndSizesStay(t *testing.T) {
	out := masked(t, core, map[string]any{
		"kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/tls", "immutable": true,
		"data":     map[string]any{"tls.key": base64.StdEncoding.EncodeToString([]byte("0123456789")), "none": "", "null": nil},
		"metadata": map[string]any{"name": "web", "labels": map[string]any{"a": "b"}, "annotations": map[string]any{"team": "shop", "meta.helm.sh/release-name": "web"}, "unknown": "x"},
	})
	want := `{"apiVersion":"v1","data":{"none":"","null":"","tls.key":"KioqKioqKioqKg=="},"immutable":true,"kind":"Secret",` +
		`"metadata":{"annotations":{"meta.helm.sh/release-name":"web"},"labels":{"a":"b"},"name":"web"},"type":"kubernetes.io/tls"}` + "\n"
	if string(out) != want {
		t.Errorf("%s", out)
	}
}

func TestAResourceOfTheSameNameIsMaskedWholly(t *testing.T) {
	out := string(masked(t, Masker{}, map[string]any{
		"kind": "Secret", "apiVersion": "example.com/v1", "spec": map[string]any{"password": "hunter2", "pin": 1234, "on": true, "list": []any{"deep", nil}},
		"type": "hunter2", "metadata": map[string]any{"name": "x", "managedFields": []any{"hunter2"}},
	}))
	if strings.Contains(out, "hunter2") || strings.Contains(out, "deep") || strings.Contains(out, "1234") || !strings.Contains(out, `"password":"*******"`) {
		t.Error(out)
	}
	out = string(masked(t, Masker{}, map[string]any{
		"kind":              "Table",
		"columnDefinitions": []any{map[string]any{"name": "Name", "format": "name"}, map[string]any{"name": "Value"}},
		"rows":              []any{map[string]any{"cells": []any{"web", "hunter2", 1234, map[string]any{"a": "hunter2"}}}},
	}))
	if strings.Contains(out, "hunter2") || strings.Contains(out, "1234") || !strings.Contains(out, `"web"`) {
		t.Error(out)
	}
}

func TestAnErrorIsToldWithoutWhatItCouldQuote(t *testing.T) {
	for _, one := range []struct{ given, keep string }{
		{`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"secrets \"x\" not found","reason":"NotFound","code":404}`, `secrets \"x\" not found`},
		{`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Apply failed with 1 conflict","reason":"Conflict","code":409,"details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"b\"","field":".data.x"}]}}`, `conflict with \"b\"`},
		{`{"kind":"Status","apiVersion":"v1","message":"data[x]: Invalid value: \"hunter2\"","reason":"Invalid","code":422,"details":{"name":"x","causes":[{"reason":"FieldValueInvalid","message":"Invalid value: hunter2","field":"data[x]"}]}}`, `"field":"data[x]"`},
		{`{"kind":"Status","apiVersion":"v1","message":"error in #10 byte of ...|hunter2|...","reason":"BadRequest","code":400}`, `BadRequest`},
		{`{"kind":"Status","apiVersion":"v1","message":"admission webhook \"x\" denied the request: hunter2","reason":"Forbidden","code":403}`, `Forbidden`},
		{`{"kind":"Status","apiVersion":"v1","message":"hunter2","code":500}`, `withheld`},
		{`{"kind":"Status","apiVersion":"v1","status":"Success","details":{"name":"x","uid":"u"},"extra":"hunter2"}`, `"name":"x"`},
	} {
		out, err := core.Document(json.RawMessage(one.given))
		if err != nil || bytes.Contains(out, []byte("hunter2")) || !bytes.Contains(out, []byte(one.keep)) {
			t.Errorf("%v %s", err, out)
		}
	}
}

func TestAnAnswerThatCannotBeReadIsRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "null", "[]", `"hunter2"`, "7", "hunter2", `{"data":{"a":`, `{"data":{"a":"aHVudGVyMg=="}} x`, `{} {}`, `{"items":{}}`,
		`{"items":"hunter2"}`, `{"items":["hunter2"]}`, `{"items":[[]]}`, `{"rows":[7]}`, `{"items":[],"items":[]}`, `{"items":[],"rows":[]}`,
		`{"data":"hunter2"}`, `{"data":[]}`, `{"metadata":"hunter2"}`, `{"metadata":{"annotations":"hunter2"}}`, "\x1f\x8b\x08",
		"k8s\x00", "\xd9\xd9\xf7\xa0", "kind: Secret\n", `{"data":{"a":"` + strings.Repeat("a", Bound) + `"}}`,
	} {
		var out bytes.Buffer
		if err := core.Answer(strings.NewReader(text), &out); err == nil || bytes.Contains(out.Bytes(), []byte("hunter2")) {
			t.Errorf("%.60q became %q", text, out.Bytes())
		}
	}
}

func TestALongListIsNotHeldAsAWhole(t *testing.T) {
	one := `{"metadata":{"name":"x"},"data":{"a":"` + strings.Repeat("YWFh", 100_000) + `"}}`
	given := `{"kind":"SecretList","items":[` + strings.Repeat(one+",", 2*Bound/len(one)) + one + `]}`
	var out bytes.Buffer
	if err := core.Answer(strings.NewReader(given), &out); err != nil || out.Len() < Bound || bytes.Contains(out.Bytes(), []byte("YWFh")) {
		t.Errorf("%v %d", err, out.Len())
	}
}

func store(t testing.TB, release any) string {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if err := json.NewEncoder(writer).Encode(release); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	return base64.StdEncoding.EncodeToString(packed.Bytes())
}

func TestAReleaseOfHelmKeepsItsMetadata(t *testing.T) {
	stored := store(t, map[string]any{
		"name": "web", "namespace": "shop", "version": 3, "config": map[string]any{"password": "hunter2"}, "manifest": "hunter2",
		"hooks": []any{map[string]any{"manifest": "hunter2"}}, "labels": map[string]any{"a": "hunter2"},
		"info": map[string]any{"status": "failed", "last_deployed": "2026-11-29T00:00:00Z", "notes": "hunter2", "description": "Upgrade \"web\" failed: hunter2"},
		"chart": map[string]any{
			"metadata":  map[string]any{"name": "nginx", "version": "1.2.3", "appVersion": "9", "annotations": map[string]any{"a": "hunter2"}},
			"templates": []any{map[string]any{"data": "hunter2"}}, "values": map[string]any{"password": "hunter2"}, "files": []any{"hunter2"},
		},
	})
	secret := map[string]any{"type": helmType, "data": map[string]any{
		"release": base64.StdEncoding.EncodeToString([]byte(stored)), "other": base64.StdEncoding.EncodeToString([]byte(stored)),
	}}
	var out struct {
		Data map[string][]byte `json:"data"`
	}
	if err := json.Unmarshal(masked(t, core, secret), &out); err != nil {
		t.Fatal(err)
	}
	decoder, err := openRelease(out.Data["release"])
	if err != nil {
		t.Fatal(err)
	}
	var release json.RawMessage
	if err := decoder.Decode(&release); err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"web","namespace":"shop","version":3,"info":{"description":"Upgrade \"web\" failed","last_deployed":"2026-11-29T00:00:00Z",` +
		`"status":"failed"},"chart":{"metadata":{"appVersion":"9","name":"nginx","version":"1.2.3"}},"manifest":"# masked: this run does not see what a release holds\n"}`
	if string(release) != want {
		t.Errorf("%s", release)
	}
	if strings.Trim(string(out.Data["other"]), "*") != "" {
		t.Errorf("%s", out.Data["other"])
	}
	if !isMasked(out.Data["release"]) || isMasked([]byte(stored)) {
		t.Error("a masked release is not told from another")
	}
}

func TestWhatOnlyLooksLikeAReleaseIsAValue(t *testing.T) {
	for _, stored := range []string{"hunter2", base64.StdEncoding.EncodeToString([]byte("hunter2")), base64.StdEncoding.EncodeToString([]byte{0x1f, 0x8b, 8}),
		base64.StdEncoding.EncodeToString([]byte(`{"name": 7, "config": "hunter2"}`)), base64.StdEncoding.EncodeToString([]byte(`{"name": "x`))} {
		out := masked(t, core, map[string]any{"type": helmType, "data": map[string]any{"release": base64.StdEncoding.EncodeToString([]byte(stored))}})
		var read struct {
			Data map[string][]byte `json:"data"`
		}
		if err := json.Unmarshal(out, &read); err != nil || strings.Trim(string(read.Data["release"]), "*") != "" {
			t.Errorf("%v %s", err, out)
		}
	}
}

func TestOnlyJSONIsAskedFor(t *testing.T) {
	for given, want := range map[string]string{
		"":    "application/json",
		"*/*": "application/json",
		"application/vnd.kubernetes.protobuf,application/json": "application/json",
		"application/cbor": "application/json",
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json":                       "application/json;as=Table;g=meta.k8s.io;v=v1,application/json",
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
		"application/json;stream=watch":                                                       "application/json",
		`application/yaml;as="Table,application/yaml"`:                                        "application/json",
		"text/html": "application/json",
	} {
		if got := Accept([]string{given}); got != want {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		var seen values
		one, _ := json.Marshal(randomSecret(random, &seen))
		f.Add(one, true)
		f.Add([]byte(`{"kind":"SecretList","items":[`+string(one)+`]}`), true)
		f.Add([]byte(`{"kind":"Table","rows":[{"cells":["x"],"object":`+string(one)+`}]}`), false)
	}
	f.Add([]byte(`{"kind":"Status","apiVersion":"v1","message":"x","reason":"NotFound"}`), true)
	f.Fuzz(func(t *testing.T, text []byte, isCore bool) {
		mask := Masker{Core: isCore}
		out, err := mask.Document(text)
		if err != nil {
			return
		}
		var given, shown any
		if json.Unmarshal(text, &given) != nil || json.Unmarshal(out, &shown) != nil {
			t.Fatalf("%q became %q", text, out)
		}
		// What is under `data` of the object, or of an item, is stars or nothing.
		document, _ := shown.(map[string]any)
		objects := []any{document}
		if items, ok := document["items"].([]any); ok {
			objects = append(objects, items...)
		}
		for _, one := range objects {
			object, _ := one.(map[string]any)
			data, _ := object["data"].(map[string]any)
			for key, value := range data {
				encoded, _ := value.(string)
				decoded, _ := base64.StdEncoding.DecodeString(encoded)
				if isCore && strings.Trim(string(decoded), "*") != "" && key != helmKey {
					t.Fatalf("%q shows %q", text, decoded)
				}
			}
			metadata, _ := object["metadata"].(map[string]any)
			annotations, _ := metadata["annotations"].(map[string]any)
			for name := range annotations {
				if strings.Contains(name, "last-applied") {
					t.Fatalf("%q shows %q", text, name)
				}
			}
		}
		if again, err := mask.Document(out); err == nil && isCore && !bytes.Equal(bytes.TrimSpace(out), bytes.TrimSpace(again)) &&
			!bytes.Contains(out, []byte(helmType)) {
			t.Fatalf("masked twice %q is %q", out, again)
		}
	})
}
