package config

import (
	"strings"
	"testing"
)

const good = `{"contexts": [{"name": "prod", "port": 9001}], "rules": [
 {"name": "team-a", "access": "full", "secrets": "masked", "allow": [{"name": "team-a, allow 1", "verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"], "namespaces": ["shop-*"]}],
 "deny": [{"name": "team-a, deny 1", "verbs": ["*"], "nonResourceURLs": ["/metrics", "/logs/*"]}]}]}`

func TestAWholeConfigurationIsRead(t *testing.T) {
	read, err := Read([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if read.Rules[0].Allow[0].Namespaces[0] != "shop-*" || read.Rules[0].Deny[0].NonResourceURLs[1] != "/logs/*" || read.Rules[0].Secrets != Masked {
		t.Fatalf("%+v", read)
	}
}

func TestAnAllowWithoutEntriesIsNotTheSameAsNone(t *testing.T) {
	const without = `{"contexts": [{"name": "p", "port": 1}], "rules": [{"name": "r", "access": "full", "secrets": "full"`
	none, err := Read([]byte(without + `}]}`))
	if err != nil || none.Rules[0].Allow != nil {
		t.Fatalf("%v %v", none, err)
	}
	empty, err := Read([]byte(without + `, "allow": []}]}`))
	if err != nil || empty.Rules[0].Allow == nil {
		t.Fatalf("%v %v", empty, err)
	}
}

func TestWhateverIsNotUnderstoodStopsIt(t *testing.T) {
	for name, change := range map[string][2]string{
		"an unknown field":            {`"name": "team-a",`, `"name": "team-a", "reed_only": true,`},
		"an unknown field in a list":  {`"verbs": ["get"]`, `"verbs": ["get"], "resourceName": ["x"]`},
		"a field of another place":    {`"name": "team-a",`, `"name": "team-a", "verbs": ["get"],`},
		"a field in another case":     {`"access"`, `"Access"`},
		"a field twice":               {`"name": "team-a",`, `"name": "team-a", "access": "full",`},
		"no access":                   {`"access": "full",`, ``},
		"another access":              {`"full"`, `"readonly"`},
		"other secrets":               {`"masked"`, `"hidden"`},
		"no name":                     {`"name": "team-a",`, ``},
		"no rules":                    {`, "rules": [`, `, "rules": [], "x": [`},
		"rules that are not there":    {`"rules": [`, `"contexts": [`},
		"no context":                  {`[{"name": "prod", "port": 9001}]`, `[]`},
		"no port":                     {`9001`, `90001`},
		"a port twice":                {`{"name": "prod", "port": 9001}`, `{"name": "a", "port": 1}, {"name": "b", "port": 1}`},
		"an entry without verbs":      {`"verbs": ["get"], `, ``},
		"an entry without groups":     {`"apiGroups": [""], `, ``},
		"an entry without name":       {`"name": "team-a, deny 1", `, ``},
		"resources and URLs":          {`"verbs": ["*"], "non`, `"verbs": ["*"], "resources": ["x"], "non`},
		"a verb in another case":      {`["get"]`, `["GET"]`},
		"a resource in another case":  {`"pods"`, `"Pods"`},
		"a URL pattern in the middle": {`"/logs/*"`, `"/*/logs"`},
		"a URL that is none":          {`"/metrics"`, `"metrics"`},
		"a pattern that is none":      {`"shop-*"`, `"shop-[a-z]"`},
		"an empty list of namespaces": {`["shop-*"]`, `[]`},
		"a kind for a list":           {`["shop-*"]`, `"shop-*"`},
		"text after the end":          {`"/logs/*"]}]}]}`, `"/logs/*"]}]}]} {}`},
		"half of it":                  {`"/logs/*"]}]}]}`, `"/logs/*"]}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(good, change[0], change[1], 1)
			if changed == good {
				t.Fatal("the test changes nothing")
			}
			if read, err := Read([]byte(changed)); err == nil {
				t.Fatalf("taken: %+v", read)
			}
		})
	}
}
