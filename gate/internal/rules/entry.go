package rules

import (
	"regexp"
	"slices"
	"strings"

	"gate/internal/asked"
	"gate/internal/config"
)

// attributes are what an entry is compared with.
type attributes struct {
	verb, group, resource, subresource, namespace, name string
	path                                                string // of what is no resource
	every                                               bool   // over all namespaces
	why                                                 string // it is asked besides what the request says itself
}

func attributesOf(request *asked.Request) attributes {
	if !request.IsResourceRequest {
		return attributes{verb: request.Verb, path: withoutSlash(request.Path)}
	}
	return attributes{
		verb: request.Verb, group: request.APIGroup, resource: request.Resource, subresource: request.Subresource,
		namespace: request.Namespace, name: request.Name, every: overAll(request),
	}
}

// asksOf is all that a rule has to allow: what the request says, and `create` where it opens a way into something that
// runs. Such a request is a GET as well as a POST, and Kubernetes itself asks so since 1.35, for pods.
func asksOf(request *asked.Request) []attributes {
	ask := attributesOf(request)
	asks := []attributes{ask}
	if opens(request) && ask.verb != "create" {
		ask.verb, ask.why = "create", request.Subresource+" takes the verb create as well"
		asks = append(asks, ask)
	}
	for _, identity := range request.As {
		asks = append(asks, attributesAs(identity))
	}
	return asks
}

// opens: a proxy's only when it is not HTTP any more, such as a kubelet's exec.
func opens(request *asked.Request) bool {
	if slices.Contains([]string{"exec", "attach", "portforward"}, request.Subresource) {
		return true
	}
	return request.Upgrade != "" && request.Subresource != "" && request.Subresource != "log"
}

func attributesAs(identity asked.Identity) attributes {
	return attributes{
		verb: "impersonate", group: identity.Group, resource: identity.Resource, subresource: identity.Subresource,
		namespace: identity.Namespace, name: identity.Name,
	}
}

// entry is a rule of RBAC, prepared. https://kubernetes.io/docs/reference/access-authn-authz/rbac/
type entry struct {
	config.Entry
	namespaces []*regexp.Regexp
}

func entries(from []config.Entry) []entry {
	prepared := make([]entry, len(from))
	for i, one := range from {
		prepared[i] = entry{Entry: one}
		for _, pattern := range one.Namespaces {
			prepared[i].namespaces = append(prepared[i].namespaces, glob(pattern))
		}
	}
	return prepared
}

func glob(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
}

// surelyMeans is for allow: whatever the request touches is named by the entry.
func (e *entry) surelyMeans(ask attributes) bool {
	if !e.names(ask) {
		return false
	}
	if len(e.ResourceNames) > 0 && !slices.Contains(e.ResourceNames, ask.name) {
		return false
	}
	return len(e.namespaces) == 0 || e.inNamespace(ask)
}

// mayMean is for deny: something that the request touches could be what the entry names.
func (e *entry) mayMean(ask attributes) bool {
	if !e.names(ask) {
		return false
	}
	if len(e.ResourceNames) > 0 && ask.name != "" && !slices.Contains(e.ResourceNames, ask.name) {
		return false
	}
	return len(e.namespaces) == 0 || ask.every || e.inNamespace(ask)
}

// because explains a refusal that is not plain from the entry.
func (e *entry) because(ask attributes) string {
	switch {
	case len(e.namespaces) > 0 && ask.every:
		return "a request over all namespaces would reach the ones that it names"
	case len(e.ResourceNames) > 0 && ask.name == "":
		return "a request without a name could reach the ones that it names"
	default:
		return ""
	}
}

// names compares all but names and namespaces.
func (e *entry) names(ask attributes) bool {
	if !has(e.Verbs, ask.verb) && (ask.verb != "head" || !has(e.Verbs, "get")) {
		return false
	}
	if ask.path != "" {
		return slices.ContainsFunc(e.NonResourceURLs, func(pattern string) bool { return under(pattern, ask.path) })
	}
	return has(e.APIGroups, ask.group) && slices.ContainsFunc(e.Resources, func(resource string) bool {
		return meansResource(resource, ask.resource, ask.subresource)
	})
}

func has(words []string, word string) bool {
	return slices.Contains(words, "*") || slices.Contains(words, word)
}

// meansResource: "*" is everything, "pods" the resource alone, "pods/log" and "*/scale" subresources. "pods/*" is not
// RBAC's; it can only mean all subresources of pods.
func meansResource(pattern, resource, subresource string) bool {
	if pattern == "*" {
		return true
	}
	of, sub, _ := strings.Cut(pattern, "/")
	return (of == "*" || of == resource) && (sub == subresource || (sub == "*" && subresource != ""))
}

func under(pattern, path string) bool {
	if beginning, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, beginning) || withoutSlash(beginning) == path
	}
	return withoutSlash(pattern) == path
}

// withoutSlash: a slash at the end makes no other path of it, for the API server or for a gateway.
func withoutSlash(path string) string {
	if trimmed := strings.TrimRight(path, "/"); trimmed != "" {
		return trimmed
	}
	return "/"
}

func (e *entry) inNamespace(ask attributes) bool {
	return ask.namespace != "" && slices.ContainsFunc(e.namespaces, func(pattern *regexp.Regexp) bool {
		return pattern.MatchString(ask.namespace)
	})
}
