package secrets

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const withheld = "(withheld: it could quote a value of a Secret)"

// Reasons of which the API server's own messages name objects, users and fields, and quote no value.
var plainReasons = []metav1.StatusReason{
	metav1.StatusReasonNotFound, metav1.StatusReasonAlreadyExists, metav1.StatusReasonConflict,
	metav1.StatusReasonUnauthorized, metav1.StatusReasonForbidden, metav1.StatusReasonExpired, metav1.StatusReasonGone,
	metav1.StatusReasonTooManyRequests, metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout,
	metav1.StatusReasonServiceUnavailable, metav1.StatusReasonMethodNotAllowed, metav1.StatusReasonNotAcceptable,
	metav1.StatusReasonUnsupportedMediaType, metav1.StatusReasonRequestEntityTooLarge,
}

func isStatus(members map[string]json.RawMessage) bool {
	return text(members["kind"]) == "Status" && text(members["apiVersion"]) == "v1"
}

// status keeps of a Status what can hold no value. An error of validation quotes what is wrong, one of decoding what
// stands around it, and a webhook says whatever it likes.
func status(raw json.RawMessage) (json.RawMessage, error) {
	var given metav1.Status
	if err := json.Unmarshal(raw, &given); err != nil {
		return nil, errForm
	}
	kept := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   given.Status, Code: given.Code, Reason: given.Reason,
	}
	kept.ResourceVersion, kept.Continue = given.ResourceVersion, given.Continue
	plain := slices.Contains(plainReasons, given.Reason) && !strings.Contains(given.Message, "admission") &&
		!strings.Contains(given.Message, "denied")
	switch {
	case plain:
		kept.Message = given.Message
	case given.Message != "":
		kept.Message = strings.TrimSpace(string(given.Reason) + " " + withheld)
	}
	if given.Details != nil {
		kept.Details = details(given.Details, plain)
	}
	return encode(kept)
}

func details(given *metav1.StatusDetails, plain bool) *metav1.StatusDetails {
	kept := &metav1.StatusDetails{
		Name: given.Name, Group: given.Group, Kind: given.Kind, UID: given.UID,
		RetryAfterSeconds: given.RetryAfterSeconds,
	}
	for _, cause := range given.Causes {
		if !plain {
			cause.Message = withheld
		}
		kept.Causes = append(kept.Causes, cause)
	}
	return kept
}
