package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

const (
	longestAnnotation = 256
	shortestValue     = 4 // what is shorter is found everywhere
)

// Annotations in which a whole Secret is, as it was applied. They are left out, like all that look like them.
var copies = []string{
	"kubectl.kubernetes.io/last-applied-configuration", "last-applied", "kapp.k14s.io/original",
	"objectset.rio.cattle.io/applied",
}

// Annotations whose values are names, by those who define them. Where an answer has no values to compare with, such as
// one of metadata alone, only these stay.
var plainAnnotations = []string{
	"k8s.io/initial-events-end", // of a watch, not of a Secret
	"meta.helm.sh/release-name", "meta.helm.sh/release-namespace", "kubernetes.io/service-account.name",
	"kubernetes.io/service-account.uid", "cert-manager.io/certificate-name", "cert-manager.io/issuer-name",
	"cert-manager.io/issuer-kind", "cert-manager.io/issuer-group",
}

// metadata keeps what is known to hold no value, and of the annotations those that hold no copy of one. values are the
// object's, nil when they are not in the answer.
func (m Masker) metadata(raw json.RawMessage, values [][]byte) (json.RawMessage, error) {
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
		if value := text(value); harmless(name, value, values) {
			annotations[name] = value
		}
	}
	if len(annotations) > 0 {
		if kept["annotations"], err = encode(annotations); err != nil {
			return nil, err
		}
	}
	return encode(kept)
}

func harmless(name, value string, values [][]byte) bool {
	for _, copied := range copies {
		if strings.Contains(name, copied) {
			return false
		}
	}
	if values == nil && !slices.Contains(plainAnnotations, name) {
		return false
	}
	if len(value) > longestAnnotation || strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") {
		return false
	}
	for _, secret := range values {
		if len(secret) >= shortestValue && len(secret) <= len(value) &&
			(bytes.Contains([]byte(value), secret) ||
				strings.Contains(value, base64.RawStdEncoding.EncodeToString(secret))) {
			return false
		}
	}
	return true
}
