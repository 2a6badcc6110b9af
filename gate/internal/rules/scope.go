package rules

import (
	"slices"

	"gate/internal/asked"
	"gate/internal/config"
)

// Kubernetes' own resources that are in no namespace. A list of anything else without a namespace is one over all of
// them, as far as a path can tell. `namespaces` is not here: what an entry says of a namespace holds for the Namespace
// object too, and a list of all has it.
var clusterScoped = map[string][]string{
	"":                             {"nodes", "persistentvolumes", "componentstatuses"},
	"admissionregistration.k8s.io": {"*"},
	"apiextensions.k8s.io":         {"*"},
	"apiregistration.k8s.io":       {"*"},
	"authentication.k8s.io":        {"*"},
	"authorization.k8s.io":         {"subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"},
	"certificates.k8s.io":          {"certificatesigningrequests", "clustertrustbundles"},
	"flowcontrol.apiserver.k8s.io": {"*"},
	"internal.apiserver.k8s.io":    {"*"},
	"metrics.k8s.io":               {"nodes"},
	"networking.k8s.io":            {"ingressclasses", "ipaddresses", "servicecidrs"},
	"node.k8s.io":                  {"*"},
	"rbac.authorization.k8s.io":    {"clusterroles", "clusterrolebindings"},
	"resource.k8s.io":              {"deviceclasses", "resourceslices", "devicetaintrules"},
	"scheduling.k8s.io":            {"priorityclasses"},
	"storage.k8s.io":               {"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"},
	"storagemigration.k8s.io":      {"*"},
}

// overAll says whether a request may reach objects of every namespace. One with a name in its path cannot: an object
// in a namespace is reached only through it; nor can a create.
func overAll(request *asked.Request) bool {
	if request.Object() != "" || request.Verb == "create" {
		return false
	}
	return request.Namespace == "" && !has(clusterScoped[request.APIGroup], request.Resource)
}

// everybodys is what Kubernetes itself lets everybody ask, in system:discovery and system:basic-user: without it no
// client works, and an `allow` need not name it. A `deny` may.
func everybodys(ask attributes) bool {
	return slices.ContainsFunc(forEverybody, func(e entry) bool { return e.surelyMeans(ask) })
}

var forEverybody = entries([]config.Entry{
	{Verbs: []string{"get", "head"}, NonResourceURLs: []string{
		"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/readyz", "/openapi", "/openapi/*", "/version",
	}},
	{
		Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"},
		Resources: []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"},
	},
	{
		Verbs: []string{"create"}, APIGroups: []string{"authentication.k8s.io"},
		Resources: []string{"selfsubjectreviews"},
	},
})
