package rules

import (
	"net/http/httptest"
	"strings"
	"testing"

	"gate/internal/asked"
	"gate/internal/config"
)

func ask(t testing.TB, line string, headers ...string) *asked.Request {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, target, nil)
	r.Host = "gate"
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	read, err := asked.Read(r, "gate")
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	read.As = asked.Identities(r.Header)
	return read
}

type decisions map[bool][]string

func check(t *testing.T, c config.Rule, all decisions) {
	t.Helper()
	if c.Access == "" {
		c.Access = config.Full
	}
	if c.Secrets == "" {
		c.Secrets = config.Open
	}
	c.Name = "team-a"
	rules := New(c)
	for want, lines := range all {
		for _, line := range lines {
			line, header, _ := strings.Cut(line, " | ")
			var headers []string
			if header != "" {
				headers = strings.Split(header, " | ")
			}
			refusal := rules.Decide(ask(t, line, headers...))
			if (refusal == nil) != want {
				t.Errorf("%s %v: allowed is %v, want %v (%+v)", line, headers, refusal == nil, want, refusal)
			}
			if refusal != nil && (refusal.Rule == "" || refusal.Reason == "") {
				t.Errorf("%s: refused without saying why: %+v", line, refusal)
			}
		}
	}
}

const upgrade = "Connection: Upgrade | Upgrade: websocket"

var reading = []string{
	"GET /api", "GET /apis", "GET /api/v1", "GET /apis/apps", "GET /apis/apps/v1", "GET /version", "GET /healthz",
	"GET /livez/ping", "GET /readyz", "GET /metrics", "GET /openapi/v2", "GET /openapi/v3", "GET /openapi/v3/apis/apps/v1",
	"HEAD /version", "GET /api/v1/pods", "GET /api/v1/namespaces/a/pods", "GET /api/v1/namespaces/a/pods/x",
	"GET /api/v1/namespaces/a/pods/x/log", "GET /api/v1/namespaces/a/pods/x/status", "GET /api/v1/pods?watch=1",
	"GET /apis/apps/v1/namespaces/a/deployments/x/scale", "GET /api/v1/watch/pods", "GET /api/v1/nodes/n",
	"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
	"POST /apis/authentication.k8s.io/v1/selfsubjectreviews", "GET /api/v1/pods?watch=1 | " + upgrade,
	"GET /apis/metrics.k8s.io/v1beta1/nodes", "GET /apis/example.com/v1/widgets",
}

var changing = []string{
	"POST /api/v1/namespaces/a/pods", "PUT /api/v1/namespaces/a/pods/x", "PATCH /api/v1/namespaces/a/pods/x",
	"DELETE /api/v1/namespaces/a/pods/x", "DELETE /api/v1/namespaces/a/pods", "POST /api/v1/namespaces",
	"PATCH /apis/apps/v1/namespaces/a/deployments/x/scale", "PUT /api/v1/namespaces/a/pods/x/status",
	"POST /api/v1/namespaces/a/pods/x/eviction", "POST /api/v1/namespaces/a/pods/x/binding",
	"PATCH /api/v1/namespaces/a/pods/x/ephemeralcontainers", "PATCH /api/v1/namespaces/a/pods/x/resize",
	"PUT /api/v1/namespaces/a/finalize", "POST /apis/example.com/v1/namespaces/a/widgets",
	"PUT /apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
	"POST /apis/authorization.k8s.io/v1/subjectaccessreviews", "POST /apis/authentication.k8s.io/v1/tokenreviews",
	"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x", "PUT /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
}

var starting = []string{
	"POST /api/v1/namespaces/a/pods/x/exec", "GET /api/v1/namespaces/a/pods/x/exec?command=sh | " + upgrade,
	"GET /api/v1/namespaces/a/pods/x/exec", "GET /api/v1/namespaces/a/pods/x/attach | " + upgrade,
	"GET /api/v1/namespaces/a/pods/x/portforward | " + upgrade, "POST /api/v1/namespaces/a/pods/x/portforward",
	"GET /api/v1/namespaces/a/pods/x/proxy", "GET /api/v1/namespaces/a/services/x/proxy/a/b", "GET /api/v1/nodes/n/proxy/pods",
	"DELETE /api/v1/namespaces/a/services/x/proxy/a", "POST /api/v1/namespaces/a/serviceaccounts/x/token",
	"PATCH /apis/example.com/v1/namespaces/a/widgets/x/start", "PUT /apis/apps/v1/namespaces/a/deployments/x/approval",
	"POST /logs", "POST /api", "PUT /apis/apps/v1", "DELETE /healthz", "POST /version", "PATCH /metrics",
	"GET /logs/x", "GET /debug/pprof/heap", "GET /configz", "GET /v1/secrets", "GET /k8s/clusters/c-2/api",
	"GET /healthz | " + upgrade, "POST /apis/evil/v1/selfsubjectaccessreviews/x/y",
	"GET /api/v1/namespaces/a/pods/x/log/y", "DELETE /api/v1/namespaces/a/pods/x/eviction/y",
}

func TestReadOnlyReads(t *testing.T) {
	check(t, config.Rule{Access: config.ReadOnly}, decisions{true: reading, false: append(changing, starting...)})
}

func TestDryRunAlsoChangesWhatCanBeTried(t *testing.T) {
	check(t, config.Rule{Access: config.DryRun}, decisions{true: append(reading, changing...), false: starting})
	rules := New(config.Rule{Access: config.DryRun, Secrets: config.Open, Name: "r"})
	for _, line := range changing {
		if !rules.Dry(ask(t, line)) {
			t.Errorf("%s would not be sent dry", line)
		}
	}
	for _, line := range reading {
		line, _, _ = strings.Cut(line, " | ")
		if rules.Dry(ask(t, line)) {
			t.Errorf("%s would be sent dry", line)
		}
	}
}

func TestFullAccessDoesEverything(t *testing.T) {
	check(t, config.Rule{}, decisions{true: append(append(reading, changing...), starting...)})
}

func TestADenyWinsAndAnAllowIsAll(t *testing.T) {
	check(t, config.Rule{
		Allow: []config.Entry{
			{Name: "allow[0]", Verbs: []string{"get", "list", "patch"}, APIGroups: []string{"apps"}, Resources: []string{"*"}},
			{Name: "allow[1]", Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Namespaces: []string{"shop-*"}},
			{Name: "allow[2]", Verbs: []string{"get"}, APIGroups: []string{"*"}, Resources: []string{"*/scale"}},
			{Name: "allow[3]", Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/logs/*"}},
			{Name: "allow[4]", Verbs: []string{"get", "list", "delete", "create"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"web"}},
		},
		Deny: []config.Entry{
			{Name: "deny[0]", Verbs: []string{"patch"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"}},
			{Name: "deny[1]", Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"pods"}, Namespaces: []string{"shop-prod"}},
			{Name: "deny[2]", Verbs: []string{"get"}, NonResourceURLs: []string{"/openapi/*"}},
		},
	}, decisions{
		true: {
			"GET /apis/apps/v1/deployments", "PATCH /apis/apps/v1/namespaces/a/statefulsets/x", "GET /api/v1/namespaces/shop-dev/pods",
			"DELETE /api/v1/namespaces/shop-dev/pods/x", "GET /api/v1/namespaces/shop-prod/pods/x/log", "GET /metrics", "GET /metrics/",
			"GET /logs/x", "GET /api", "GET /apis/apps/v1", "GET /version", "HEAD /api",
			"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "GET /api/v1/namespaces/a/configmaps/web",
			"GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dweb", "GET /apis/apps/v1/namespaces/a/deployments/x/scale",
		},
		false: {
			"PATCH /apis/apps/v1/namespaces/a/deployments/x", "GET /apis/batch/v1/jobs", "GET /api/v1/pods", "GET /api/v1/pods?watch=1",
			"GET /api/v1/watch/pods", "GET /api/v1/namespaces/shop-prod/pods", "GET /api/v1/namespaces/shop-prod/pods/x",
			"GET /api/v1/namespaces/other/pods", "GET /api/v1/namespaces/shop-dev/pods/x/exec | " + upgrade,
			"DELETE /apis/apps/v1/namespaces/a/deployments/x", "GET /openapi/v3", "GET /openapi/", "HEAD /openapi/v2", "GET /metrics/x", "GET /debug/pprof",
			"POST /metrics", "GET /api/v1/namespaces/a/configmaps", "GET /api/v1/namespaces/a/configmaps/other",
			"DELETE /api/v1/namespaces/a/configmaps", "POST /api/v1/namespaces/a/configmaps",
			"GET /apis/apps/v1/deployments | Impersonate-User: jane", "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
		},
	})
}

func TestWhatRunsSomethingTakesCreateByWhateverMethod(t *testing.T) {
	look := config.Entry{Name: "allow[0]", Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"*"}, Resources: []string{"*"}}
	check(t, config.Rule{Allow: []config.Entry{look}}, decisions{
		true: {
			"GET /api/v1/pods?watch=1 | " + upgrade, "GET /api/v1/watch/pods | " + upgrade, "GET /api/v1/namespaces/a/pods/x/log?follow=1 | " + upgrade,
			"GET /api/v1/namespaces/a/pods/x/proxy/a", "GET /api/v1/nodes/n/proxy/pods",
		},
		false: {
			"GET /api/v1/namespaces/a/pods/x/exec?command=sh | " + upgrade, "GET /api/v1/namespaces/a/pods/x/exec",
			"GET /api/v1/namespaces/a/pods/x/attach | " + upgrade, "HEAD /api/v1/namespaces/a/pods/x/portforward | " + upgrade,
			"GET /api/v1/nodes/n/proxy/exec/a/x/main?command=sh | " + upgrade, "GET /api/v1/namespaces/a/services/x/proxy/ | " + upgrade,
			"GET /apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/x/console | " + upgrade,
		},
	})
	rules := New(config.Rule{Access: config.Full, Secrets: config.Open, Name: "r", Allow: []config.Entry{look}})
	refusal := rules.Decide(ask(t, "GET /api/v1/namespaces/a/pods/x/exec", strings.Split(upgrade, " | ")...))
	if want := "no entry of allow in r names it: exec takes the verb create as well"; refusal == nil || refusal.Reason != want {
		t.Errorf("%v, not %q", refusal, want)
	}
}

func TestAnAllowWithoutEntriesAllowsNothing(t *testing.T) {
	check(t, config.Rule{Allow: []config.Entry{}}, decisions{true: {"GET /api"}, false: {"GET /api/v1/pods", "GET /metrics"}})
}

func TestADenyOfNamespacesHoldsForAllOfThem(t *testing.T) {
	check(t, config.Rule{Deny: []config.Entry{
		{Name: "deny[0]", Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"kube-*"}},
	}}, decisions{
		true: {
			"GET /api/v1/namespaces/a/pods", "GET /api/v1/nodes", "GET /api/v1/nodes/n", "DELETE /api/v1/nodes", "POST /api/v1/namespaces",
			"GET /apis/rbac.authorization.k8s.io/v1/clusterroles", "GET /apis/example.com/v1/clusterwidgets/x", "GET /api/v1/namespaces/a",
			"GET /apis/storage.k8s.io/v1/storageclasses?watch=true", "GET /version",
		},
		false: {
			"GET /api/v1/pods", "GET /api/v1/secrets", "GET /api/v1/pods?watch=1", "GET /api/v1/watch/pods", "DELETE /api/v1/pods",
			"GET /api/v1/pods?fieldSelector=metadata.name%3Dx", "GET /apis/example.com/v1/widgets", "GET /api/v1/namespaces/kube-system/pods",
			"GET /api/v1/watch/namespaces/kube-system/pods", "GET /api/v1/namespaces/kube-system", "GET /api/v1/namespaces",
			"PUT /api/v1/namespaces/kube-system/finalize", "DELETE /api/v1/namespaces/kube-system",
			"GET /apis/metrics.k8s.io/v1beta1/pods", "GET /api/v1/namespaces/kube-system/pods/x/exec | " + upgrade,
		},
	})
}

func TestADenyOfANameHoldsForWhateverReachesIt(t *testing.T) {
	check(t, config.Rule{Deny: []config.Entry{{
		Name: "deny[0]", Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"ca"},
	}}}, decisions{
		true: {"GET /api/v1/namespaces/a/configmaps/x", "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx"},
		false: {
			"GET /api/v1/namespaces/a/configmaps/ca", "GET /api/v1/namespaces/a/configmaps", "DELETE /api/v1/namespaces/a/configmaps",
			"GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dca", "GET /api/v1/configmaps?watch=true",
			"GET /api/v1/watch/namespaces/a/configmaps/ca", "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name!%3Dx",
			"GET /api/v1/namespaces/a/configmaps/%63a", "POST /api/v1/namespaces/a/configmaps",
		},
	})
}

func TestImpersonationIsAVerb(t *testing.T) {
	check(t, config.Rule{Deny: []config.Entry{
		{Name: "deny[0]", Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"groups"}, ResourceNames: []string{"system:masters"}},
		{Name: "deny[1]", Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Namespaces: []string{"kube-system"}},
		{Name: "deny[2]", Verbs: []string{"impersonate"}, APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"userextras/scopes", "uids"}},
	}}, decisions{
		true: {"GET /api/v1/pods | Impersonate-User: jane | Impersonate-Group: dev", "GET /api/v1/pods | Impersonate-User: system:serviceaccount:a:b"},
		false: {
			"GET /api/v1/pods | Impersonate-User: jane | Impersonate-Group: system:masters", "GET /api/v1/pods | Impersonate-Uid: 1",
			"GET /api/v1/pods | Impersonate-User: jane | Impersonate-Group: dev | Impersonate-Group: system:masters",
			"GET /api/v1/pods | Impersonate-User: system:serviceaccount:kube-system:b", "GET /version | Impersonate-Extra-Scopes: x | Impersonate-User: a",
			"GET /version | Impersonate-Extra-%73cop%65s: x", "GET /version | impersonate-extra-SCOPES: x",
		},
	})
}

func TestSecretsOfAnyGroup(t *testing.T) {
	other := []string{"GET /api", "GET /api/v1/configmaps", "GET /metrics", "GET /api/v1/namespaces/secrets", "GET /healthz/etcd"}
	elsewhere := []string{"GET /v1/secrets", "GET /debug/pprof/heap", "POST /v3", "GET /logs/"}
	masked := []string{
		"GET /api/v1/secrets", "GET /api/v1/namespaces/a/secrets/x", "GET /api/v1/secrets?watch=1", "GET /api/v1/watch/secrets",
		"POST /api/v1/namespaces/a/secrets", "DELETE /api/v1/namespaces/a/secrets", "GET /apis/example.com/v1/namespaces/a/secrets",
		"GET /apis/example.com/v1/namespaces/a/secrets/x/status", "GET /api/v1/namespaces/a/%73ecrets",
	}
	never := []string{"GET /api/v1/secrets?watch=1 | " + upgrade, "GET /apis/example.com/v1/namespaces/a/secrets/x/reveal"}
	check(t, config.Rule{Secrets: config.Masked}, decisions{true: append(other, masked...), false: append(never, elsewhere...)})
	check(t, config.Rule{Secrets: config.None}, decisions{true: other, false: append(append(never, elsewhere...), masked...)})
	check(t, config.Rule{Secrets: config.Open}, decisions{true: append(append(append(other, never...), elsewhere...), masked...)})
	check(t, config.Rule{Secrets: config.Masked, Allow: []config.Entry{
		{Name: "a", Verbs: []string{"get"}, NonResourceURLs: []string{"/logs/*"}},
	}}, decisions{true: {"GET /logs/"}, false: {"GET /v1/secrets"}})
	rules := New(config.Rule{Access: config.Full, Secrets: config.Masked, Name: "r"})
	for _, line := range masked {
		if !rules.Masked(ask(t, line)) {
			t.Errorf("%s is not masked", line)
		}
	}
}

func TestOfSeveralRulesAllHold(t *testing.T) {
	rules := New(
		config.Rule{Name: "team-a", Access: config.Full, Secrets: config.Masked, Deny: []config.Entry{
			{Name: "team-a: deny[0]", Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"nodes"}},
		}},
		config.Rule{Name: "team-b", Access: config.Full, Secrets: config.Open, Allow: []config.Entry{
			{Name: "team-b: allow[0]", Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"*"}},
		}},
		config.Rule{Name: "the request", Access: config.DryRun, Secrets: config.Open},
	)
	for line, want := range map[string]string{
		"GET /api/v1/pods": "", "POST /api/v1/namespaces/a/pods": "", "GET /api/v1/secrets": "", "GET /api/v1/nodes": "team-a: deny[0]",
		"GET /apis/apps/v1/deployments": "team-b: allow", "GET /api/v1/namespaces/a/pods/x/exec": "the request: access: dry_run",
	} {
		got := ""
		if refusal := rules.Decide(ask(t, line)); refusal != nil {
			got = refusal.Rule
		}
		if got != want {
			t.Errorf("%s is refused by %q, not %q", line, got, want)
		}
	}
	if !rules.Dry(ask(t, "POST /api/v1/namespaces/a/pods")) || !rules.Masked(ask(t, "GET /api/v1/secrets")) {
		t.Error("one rule is forgotten")
	}
}
