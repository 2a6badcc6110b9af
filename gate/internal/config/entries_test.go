package config

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestEntriesAreTakenAndRefusedAsByTheService reads the same examples as tests/policy/test_api_rules.py.
func TestEntriesAreTakenAndRefusedAsByTheService(t *testing.T) {
	text, err := os.ReadFile("../../testdata/entries.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples map[string][]json.RawMessage
	if err := json.Unmarshal(text, &examples); err != nil {
		t.Fatal(err)
	}
	for kind, entries := range examples {
		for _, entry := range entries {
			named := `{"name": "x", ` + strings.TrimPrefix(string(entry), "{")
			_, err := Read(fmt.Appendf(nil, `{"contexts": [{"name": "p", "port": 1}], "rules": [
			 {"name": "r", "access": "full", "secrets": "full", "deny": [%s]}]}`, named))
			if (err == nil) != (kind == "good") {
				t.Errorf("%s is %s: %v", entry, kind, err)
			}
		}
	}
}
