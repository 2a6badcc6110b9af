package rules

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"gate/internal/config"
)

var methodOf = map[string]string{
	"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
	"deletecollection": "DELETE",
}

// line makes a request of the table's words: verb, resource or path, and if there are any namespace ("-" for none) and
// name.
func line(t *testing.T, words string) (string, []string) {
	t.Helper()
	parts := append(strings.Fields(words), "-", "-")
	verb, what, namespace, name := parts[0], parts[1], parts[2], parts[3]
	if strings.HasPrefix(what, "/") {
		return strings.ToUpper(verb) + " " + what, nil
	}
	if verb == "impersonate" {
		who := map[string]string{
			"users": "User: " + name, "groups": "Group: " + name,
			"serviceaccounts": "User: system:serviceaccount:" + namespace + ":" + name,
		}
		return "GET /version", []string{"Impersonate-" + who[what]}
	}
	what, subresource, _ := strings.Cut(what, "/")
	resource, group, _ := strings.Cut(what, ".")
	path := "/api/v1"
	if group != "" {
		path = "/apis/" + group + "/v1"
	}
	if namespace != "-" {
		path += "/namespaces/" + namespace
	}
	path += "/" + resource
	query := url.Values{}
	if verb == "watch" {
		query.Set("watch", "true")
	}
	switch {
	case name == "-":
	case verb == "list" || verb == "watch":
		query.Set("fieldSelector", "metadata.name="+name)
	default:
		path += "/" + name
	}
	if subresource != "" {
		path += "/" + subresource
	}
	if methodOf[verb] == "" {
		t.Fatalf("%s: no method has this verb", words)
	}
	return methodOf[verb] + " " + path + "?" + query.Encode(), nil
}

// TestDecisionsAreThoseThatTheServiceForetells reads the same examples as tests/policy/test_api_decision.py.
func TestDecisionsAreThoseThatTheServiceForetells(t *testing.T) {
	text, err := os.ReadFile("../../testdata/decisions.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []struct {
		Rule    config.Rule
		Allowed []string
		Refused map[string][]string
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	for _, one := range table {
		rules := New(one.Rule)
		all := map[string][]string{"": one.Allowed}
		for by, asks := range one.Refused {
			all[by] = asks
		}
		for by, asks := range all {
			for _, words := range asks {
				request, headers := line(t, words)
				got := ""
				if refusal := rules.Decide(ask(t, request, headers...)); refusal != nil {
					got = refusal.Rule
				}
				if got != by {
					t.Errorf("%s: %s (%s) is refused by %q, not by %q", one.Rule.Name, words, request, got, by)
				}
			}
		}
	}
}
