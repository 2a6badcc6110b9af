package wire

import (
	"bytes"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// framed is an object as the API server writes it.
func framed(t testing.TB, kind string, object interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := object.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw}
	text, err := unknown.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s\x00"), text...)
}

func TestWhatKubernetesWritesIsRead(t *testing.T) {
	grace := int64(30)
	status := framed(t, "Status", &metav1.Status{
		Status: "Failure", Message: "m", Code: 409, Details: &metav1.StatusDetails{Name: "there", RetryAfterSeconds: 3},
	})
	object, kind, ok := Object(status)
	if !ok || kind != "Status" || string(First(First(object, StatusDetails), DetailsName)) != "there" {
		t.Errorf("%v %q %q", ok, kind, object)
	}
	metadata := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "made", Generation: 7, DeletionGracePeriodSeconds: &grace, Labels: map[string]string{"a": "b"},
	}}
	object, kind, ok = Object(framed(t, "PartialObjectMetadata", &metadata))
	if !ok || kind != "PartialObjectMetadata" || string(First(First(object, Metadata), MetadataName)) != "made" {
		t.Errorf("%v %q %q", ok, kind, object)
	}
	if _, _, ok := Object([]byte(`{"kind":"Status"}`)); ok {
		t.Error("JSON is taken for protobuf")
	}
}

// FuzzFields: whatever comes, reading ends and finds nothing that is not there.
func FuzzFields(f *testing.F) {
	f.Add(framed(f, "Status", &metav1.Status{Message: "m", Code: 409, Details: &metav1.StatusDetails{Name: "there"}}))
	f.Add([]byte("k8s\x00\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		object, _, ok := Object(body)
		if !ok {
			object = body
		}
		total := 0
		for _, value := range Fields(object) {
			total += len(value)
			if !bytes.Contains(body, value) {
				t.Fatalf("%q is not in %q", value, body)
			}
		}
		if total > len(body) {
			t.Fatalf("%d bytes of %d", total, len(body))
		}
	})
}
