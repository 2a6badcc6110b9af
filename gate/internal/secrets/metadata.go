package secrets

import (
	"encoding/json"
	"slices"
)

// Annotations whose values are names, by those who define them. Of all others nobody knows that they do not have a
// value, or one that the Secret had before: whoever applied it may have left a copy there, as kubectl does.
var plainAnnotations = []string{
	"k8s.io/initial-events-end", // of a watch, not of a Secret
	"meta.helm.sh/release-name", "meta.helm.sh/release-namespace", "kubernetes.io/service-account.name",
	"kubernetes.io/service-account.uid", "cert-manager.io/certificate-name", "cert-manager.io/issuer-name",
	"cert-manager.io/issuer-kind", "cert-manager.io/issuer-group",
}

// metadata keeps what is known to hold no value.
func (m Masker) metadata(raw json.RawMessage) (json.RawMessage, error) {
	names := []string{
		"name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
		"deletionTimestamp", "deletionGracePeriodSeconds", "labels", "ownerReferences", "finalizers",
		"continue", "remainingItemCount", // a list's
	}
	if m.Core {
		names = append(names, "managedFields") // names of fields; of other kinds they can have keys that are values
	}
	kept, err := only(raw, names...)
	if err != nil {
		return nil, err
	}
	all, err := object(raw)
	if err != nil {
		return nil, err
	}
	given, err := object(all["annotations"])
	if len(all["annotations"]) > 0 && err != nil {
		return nil, err
	}
	annotations := map[string]string{}
	for name, value := range given {
		if slices.Contains(plainAnnotations, name) {
			annotations[name] = text(value)
		}
	}
	if len(annotations) > 0 {
		if kept["annotations"], err = encode(annotations); err != nil {
			return nil, err
		}
	}
	return encode(kept)
}
