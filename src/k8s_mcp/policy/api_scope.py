"""Which of Kubernetes' own resources are in no namespace, and which are in the core group. Pure."""

CLUSTER_SCOPED: dict[str, tuple[str, ...]] = {
    "": ("nodes", "persistentvolumes", "componentstatuses"),
    "admissionregistration.k8s.io": ("*",),
    "apiextensions.k8s.io": ("*",),
    "apiregistration.k8s.io": ("*",),
    "authentication.k8s.io": ("*",),
    "authorization.k8s.io": ("subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    "certificates.k8s.io": ("certificatesigningrequests", "clustertrustbundles"),
    "flowcontrol.apiserver.k8s.io": ("*",),
    "internal.apiserver.k8s.io": ("*",),
    "metrics.k8s.io": ("nodes",),
    "networking.k8s.io": ("ingressclasses", "ipaddresses", "servicecidrs"),
    "node.k8s.io": ("*",),
    "rbac.authorization.k8s.io": ("clusterroles", "clusterrolebindings"),
    "resource.k8s.io": ("deviceclasses", "resourceslices", "devicetaintrules"),
    "scheduling.k8s.io": ("priorityclasses",),
    "storage.k8s.io": ("csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"),
    "storagemigration.k8s.io": ("*",),
}
"""As gate/internal/rules/scope.go has them. `namespaces` is not here: a list of them has those that entries name."""

CORE = (
    "bindings",
    "componentstatuses",
    "configmaps",
    "endpoints",
    "events",
    "limitranges",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "serviceaccounts",
    "services",
)
"""All of the group that has no name: what else comes without one was meant otherwise."""
IDENTITIES = ("users", "groups", "serviceaccounts")
"""What can be impersonated without a group."""
