package identity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/identity"
)

func TestInstanceDocument(t *testing.T) {
	t.Parallel()
	doc, err := identity.NewInstanceDocument("https://App.atoll-tests.net/")
	if err != nil {
		t.Fatalf("NewInstanceDocument: %v", err)
	}
	got, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "@context": [
    "https://www.w3.org/ns/did/v1"
  ],
  "id": "did:web:app.atoll-tests.net",
  "alsoKnownAs": [
    "at://app.atoll-tests.net"
  ],
  "service": [
    {
      "id": "#atoll_appview",
      "type": "AtollAppView",
      "serviceEndpoint": "https://app.atoll-tests.net"
    }
  ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

// What we publish must be what we would accept from another instance.
func TestInstanceDocumentResolves(t *testing.T) {
	t.Parallel()
	doc, err := identity.NewInstanceDocument("https://app.atoll-tests.net")
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.wellKnown("app.atoll-tests.net", "did.json", 200, string(body))
	got, err := w.directory(t).LookupDID(t.Context(), doc.ID)
	if err != nil || got.Services["atoll_appview"].URL != "https://app.atoll-tests.net" {
		t.Errorf("LookupDID(%s) = %+v, %v", doc.ID, got, err)
	}
}

func TestInstanceDID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want syntax.DID // empty: refused
	}{
		{"https://app.atoll-tests.net", "did:web:app.atoll-tests.net"},
		{"https://app.atoll-tests.net:443/", "did:web:app.atoll-tests.net"},
		{"http://localhost:8080", "did:web:localhost%3A8080"},
		{"https://app.atoll-tests.net:8443", ""},
		{"http://127.0.0.1:8080", ""},
		{"http://app.atoll-tests.net", ""},
		{"https://app.atoll-tests.net/atoll", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got, err := identity.InstanceDID(tt.url)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("InstanceDID(%q) = %q, %v; want %q", tt.url, got, err, tt.want)
		}
	}
	_, err := identity.InstanceDID("https://atoll.local")
	if !errors.Is(err, identity.ErrReservedTLD) || !strings.Contains(err.Error(), "setting public_url") {
		t.Errorf("InstanceDID(.local) = %v, want the TLD explained with the setting", err)
	}
}
