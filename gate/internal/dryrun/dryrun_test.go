package dryrun

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"gate/internal/asked"
)

func request(t testing.TB, method, target string) *asked.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = "gate"
	read, err := asked.Read(r, "gate")
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestTheQueryHasOneDryRun(t *testing.T) {
	for _, query := range []string{"", "dryRun=", "dryRun=All", "dryRun=None&dryRun=All", "DryRun=x&dryrun=", "a=b&dryRun=x"} {
		given, _ := url.ParseQuery(query)
		got, err := url.ParseQuery(Query(given))
		if err != nil || !slices.Equal(got["dryRun"], []string{"All"}) || len(got)-len(given["a"]) != 1 {
			t.Errorf("%q became %v", query, got)
		}
	}
}

// dry reads options as the API server does.
func dry(t testing.TB, body []byte, evicts bool) {
	t.Helper()
	var options struct {
		metav1.DeleteOptions `json:",inline"`
		Inner                metav1.DeleteOptions `json:"deleteOptions"`
	}
	strict, err := kjson.UnmarshalStrict(body, &options)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, problem := range strict {
		if strings.Contains(problem.Error(), "duplicate") {
			t.Fatalf("%s: %v", body, problem)
		}
	}
	got := options.DryRun
	if evicts {
		got = options.Inner.DryRun
	}
	if !slices.Equal(got, []string{"All"}) {
		t.Fatalf("%s has dryRun %v", body, got)
	}
}

var bodies = map[string][]string{
	"application/json": {
		`{}`, `{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}`, `{"dryRun":[]}`, `{"dryRun":null}`,
		`{"dryRun":["All"],"dryRun":[]}`, `{"dryRun":["None"]}`, `{"DryRun":["All"],"dryrun":[]}`, ` {"a":{"dryRun":[]}} `,
		`{"gracePeriodSeconds":0,"preconditions":{"uid":"x"}}`,
	},
	"application/yaml": {"{}", "kind: DeleteOptions\napiVersion: v1\ndryRun: []\n", "gracePeriodSeconds: 0", "a: 1\n---\ndryRun: []\n"},
}

func TestTheBodyOfADeleteSaysItToo(t *testing.T) {
	for media, texts := range bodies {
		for _, text := range texts {
			got, err := Body(request(t, "DELETE", "/api/v1/namespaces/a/pods/x"), media, strings.NewReader(text))
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			dry(t, got, false)
		}
	}
	got, err := Body(request(t, "DELETE", "/api/v1/namespaces/a/pods/x"), "application/json; charset=utf-8",
		strings.NewReader(`{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground","preconditions":{"uid":"u"}}`))
	if err != nil || !strings.Contains(string(got), `"preconditions":{"uid":"u"},"propagationPolicy":"Foreground"`) {
		t.Errorf("%s %v: the other options are lost", got, err)
	}
	if got, err = Body(request(t, "DELETE", "/api/v1/pods"), "", strings.NewReader("")); err != nil || len(got) != 0 {
		t.Errorf("%s %v: an empty body stays empty, then the query counts", got, err)
	}
}

func TestTheBodyOfAnEvictionSaysItToo(t *testing.T) {
	for _, text := range []string{
		`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"x"}}`, `{"deleteOptions":null}`,
		`{"deleteOptions":{"dryRun":[]}}`, `{"deleteOptions":{"dryRun":["All"]},"deleteOptions":{}}`, `{"DeleteOptions":{"dryRun":[]}}`,
	} {
		got, err := Body(request(t, "POST", "/api/v1/namespaces/a/pods/x/eviction"), "application/json", strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		dry(t, got, true)
		var kept map[string]any
		if json.Unmarshal(got, &kept) != nil || strings.Contains(text, `"x"`) && kept["metadata"].(map[string]any)["name"] != "x" {
			t.Errorf("%s became %s", text, got)
		}
	}
}

func TestABodyThatCannotBeRewrittenIsRefused(t *testing.T) {
	for _, one := range []struct {
		media, text string
		want        error
	}{
		{"application/vnd.kubernetes.protobuf", "k8s\x00\x0a", ErrMedia},
		{"application/cbor", "\xd9\xd9\xf7\xa0", ErrMedia},
		{"application/cbor-seq", "\xa0", ErrMedia},
		{"text/plain", "{}", ErrMedia},
		{";;", "{}", ErrMedia},
		{"application/json", "[]", ErrBody},
		{"application/json", "null", ErrBody},
		{"application/json", `{"dryRun":`, ErrBody},
		{"application/json", `{} {}`, ErrBody},
		{"application/json", "k8s\x00\x0a", ErrBody},
		{"application/json", "dryRun: []", ErrBody},
		{"application/json", `{"dryRun":7}`, ErrBody},
		{"application/yaml", "\t:", ErrBody},
		{"application/json", "{}" + strings.Repeat(" ", Bound), ErrTooLarge},
	} {
		got, err := Body(request(t, "DELETE", "/api/v1/namespaces/a/pods/x"), one.media, strings.NewReader(one.text))
		if !errors.Is(err, one.want) {
			t.Errorf("%s %.20q: %v %s", one.media, one.text, err, got)
		}
	}
}

func TestWhatACommandAskedForItself(t *testing.T) {
	for _, one := range []struct {
		line, body string
		want       bool
	}{
		{"POST /api/v1/namespaces/a/pods?dryRun=All", "{}", true},
		{"POST /api/v1/namespaces/a/pods", `{"dryRun":["All"]}`, false},
		{"DELETE /api/v1/namespaces/a/pods/x?dryRun=All", "", true},
		{"DELETE /api/v1/namespaces/a/pods/x?dryRun=All", "{}", false},
		{"DELETE /api/v1/namespaces/a/pods/x", `{"dryRun":["All"]}`, true},
		{"DELETE /api/v1/namespaces/a/pods/x", `{"dryRun":[]}`, false},
		{"DELETE /api/v1/namespaces/a/pods/x", `junk`, false},
	} {
		method, target, _ := strings.Cut(one.line, " ")
		if got := Asked(request(t, method, target), "application/json", []byte(one.body)); got != one.want {
			t.Errorf("%s %s: %v", one.line, one.body, got)
		}
	}
}

func TestNobodyWaitsForTheEndOfWhatWasNotDeleted(t *testing.T) {
	for given, want := range map[string]string{
		`{"kind":"Status","status":"Success","details":{"name":"x","uid":"u"}}`: `{"details":{"name":"x"},"kind":"Status","status":"Success"}` + "\n",
		`{"kind":"Pod","metadata":{"name":"x","uid":"u"},"spec":{"uid":"s"}}`:   `{"kind":"Pod","metadata":{"name":"x"},"spec":{"uid":"s"}}` + "\n",
		`{"kind":"Pod","metadata":null}`:                                        `{"kind":"Pod","metadata":null}` + "\n", "k8s\x00": "k8s\x00", `[]`: `[]`, ``: ``,
	} {
		if got := string(WithoutUID([]byte(given))); got != want {
			t.Errorf("%s became %s", given, got)
		}
	}
}

func FuzzBody(f *testing.F) {
	for media, texts := range bodies {
		for _, text := range texts {
			f.Add(media, text, false)
			f.Add(media, text, true)
		}
	}
	f.Fuzz(func(t *testing.T, media, text string, evicts bool) {
		asked := request(t, "DELETE", "/api/v1/namespaces/a/pods/x")
		if evicts {
			asked = request(t, "POST", "/api/v1/namespaces/a/pods/x/eviction")
		}
		got, err := Body(asked, media, strings.NewReader(text))
		if err == nil && len(got) > 0 {
			dry(t, got, evicts)
		}
		if err == nil && len(got) == 0 && len(text) > 0 {
			t.Fatalf("%q was lost", text)
		}
	})
}
