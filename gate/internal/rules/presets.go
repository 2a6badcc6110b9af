package rules

import (
	"fmt"
	"regexp"
	"slices"

	"gate/internal/asked"
	"gate/internal/config"
)

var (
	readVerbs    = []string{"get", "list", "watch"}
	changeVerbs  = []string{"create", "update", "patch", "delete", "deletecollection"}
	readableSubs = []string{"", "log", "scale", "status"}
	// What the API server can try without doing it, besides resources themselves, their scale and their status. Not
	// serviceaccounts/token: its dry run answers with a valid token.
	dryableSubs = []string{
		"pods/binding", "pods/ephemeralcontainers", "pods/eviction", "pods/resize", "namespaces/finalize",
		"certificatesigningrequests.certificates.k8s.io/approval",
	}
	// Discovery, health, metrics, the API's own description.
	readablePaths = regexp.MustCompile(
		`^(/(api|apis|metrics|version)/?|/metrics/slis|/(healthz|livez|readyz)(/.*)?|/openapi(/v[23](/.*)?)?` +
			`|/api/[a-z0-9.-]+/?|/apis/[a-z0-9.-]+(/[a-z0-9.-]+)?/?)$`)
)

// preset is what `access` and `secrets` say.
func (r *rule) preset(request *asked.Request) *Refusal {
	if refusal := r.secret(request); refusal != nil {
		return refusal
	}
	switch {
	case r.access == config.Full || reads(request) || onlyAsks(request):
		return nil
	case r.access == config.DryRun && canBeDry(request):
		return nil
	case r.access == config.DryRun:
		return r.refuse("access: dry_run", "it changes or starts something and cannot be tried without doing it")
	default:
		return r.refuse("access: read_only", "only reading is allowed")
	}
}

func (r *rule) refuse(word, why string) *Refusal {
	return &Refusal{Rule: r.name + ": " + word, Reason: fmt.Sprintf("%s of %s refuses it: %s", word, r.name, why)}
}

// secret refuses the ways to a Secret that cannot be masked. Resources of that name in other API groups hold the same.
func (r *rule) secret(request *asked.Request) *Refusal {
	word := "secrets: " + string(r.secrets)
	switch {
	case r.secrets == config.Open:
		return nil
	case !request.IsResourceRequest:
		// A gateway may have an API of its own beside the cluster's, which has Secrets too; profiles hold memory.
		if reads(request) || r.named(request) {
			return nil
		}
		return r.refuse(word, "what such a path answers with could hold a Secret; an entry of allow can name it")
	case request.Resource != "secrets":
		return nil
	case r.secrets == config.None:
		return r.refuse(word, "nothing about Secrets is answered")
	case request.Upgrade != "":
		return r.refuse(word, "Secrets cannot be masked in a connection of another protocol")
	case request.Subresource != "" && request.Subresource != "status":
		return r.refuse(word, "what is below a Secret cannot be masked")
	case !slices.Contains(readVerbs, request.Verb) && !slices.Contains(changeVerbs, request.Verb):
		return r.refuse(word, "this verb is not known, so its answer cannot be masked")
	default:
		return nil
	}
}

func (r *rule) named(request *asked.Request) bool {
	return slices.ContainsFunc(r.allow, func(e entry) bool { return e.surelyMeans(attributesOf(request)) })
}

func reads(request *asked.Request) bool {
	if request.Changes() {
		return false
	}
	if !request.IsResourceRequest {
		return request.Upgrade == "" && readablePaths.MatchString(request.Path)
	}
	return request.Exact() && slices.Contains(readVerbs, request.Verb) &&
		slices.Contains(readableSubs, request.Subresource)
}

// onlyAsks knows the POSTs that store nothing and tell a caller about itself.
func onlyAsks(request *asked.Request) bool {
	if !request.IsResourceRequest || request.Verb != "create" || request.Upgrade != "" || len(request.Parts) != 1 {
		return false
	}
	switch request.APIGroup {
	case "authorization.k8s.io":
		return slices.Contains([]string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}, request.Resource)
	case "authentication.k8s.io":
		return request.Resource == "selfsubjectreviews"
	default:
		return false
	}
}

func canBeDry(request *asked.Request) bool {
	if !request.IsResourceRequest || !request.Exact() || request.Upgrade != "" ||
		!slices.Contains(changeVerbs, request.Verb) {
		return false
	}
	return slices.Contains([]string{"", "scale", "status"}, request.Subresource) ||
		slices.Contains(dryableSubs, request.ResourceText())
}

func (r *rule) dry(request *asked.Request) bool {
	return r.access == config.DryRun && request.Changes() && !onlyAsks(request)
}

func (r *rule) masked(request *asked.Request) bool {
	return r.secrets != config.Open && request.IsResourceRequest && request.Resource == "secrets"
}
