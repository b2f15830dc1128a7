package web

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/oauth/client"
)

// document reads what anybody may fetch from anywhere.
func (a *answer) document(status int, into any) {
	a.t.Helper()
	a.is(status)
	for name, want := range map[string]string{"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"} {
		if got := a.header.Get(name); got != want {
			a.t.Errorf("%s: %s %q, want %q", a.what, name, got, want)
		}
	}
	if len(a.cookies) > 0 {
		a.t.Errorf("%s sets cookies", a.what)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		a.t.Errorf("%s: %v in %s", a.what, err, a.body)
	}
}

// S1–S3: what is published comes from the client that signs. The key set of a
// public client is there, and empty.
func TestDocumentsOfADevelopmentClient(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice) // cookies make no difference
	var got client.Metadata
	b.get("/oauth-client-metadata.json").document(200, &got)
	if diff := cmp.Diff(s.cfg.Client.Metadata(), got); diff != "" {
		t.Errorf("metadata differ from the client's (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/oauth/jwks.json", "/.well-known/jwks.json"} {
		var keys map[string][]any
		b.get(path).document(200, &keys)
		if diff := cmp.Diff(map[string][]any{"keys": {}}, keys); diff != "" {
			t.Errorf("GET %s differs (-want +got):\n%s", path, diff)
		}
	}
	var reason map[string]string
	a := b.get("/.well-known/did.json")
	a.document(404, &reason)
	a.is(404, "public_url is empty")
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("missing document: Cache-Control %q, want no-store", got)
	}
}

// S1–S3 and H9: the documents of a public instance, as servers and other
// instances read them.
func TestDocumentsOfAPublicInstance(t *testing.T) {
	t.Parallel()
	const origin = "https://atoll-tests.net"
	doc := ok(identity.NewInstanceDocument(origin))(t)
	keys := ok(client.NewKeySet(ok(client.NewSigningKey())(t), ok(client.NewSigningKey())(t)))(t)
	c := ok(client.New(client.Config{ClientID: origin + "/oauth-client-metadata.json", RedirectURIs: []string{origin + "/oauth/callback"},
		Scope: "atproto", Keys: keys, HTTP: http.DefaultClient, Directory: directory{}}))(t)
	s := newSite(t, func(cfg *Config) { cfg.Document, cfg.Client, cfg.Origin = doc, c, origin })

	var metadata client.Metadata
	s.browser(t).get("/oauth-client-metadata.json").document(200, &metadata)
	if metadata.ClientID != origin+"/oauth-client-metadata.json" || metadata.JWKSURI != origin+"/oauth/jwks.json" {
		t.Errorf("client_id %q, jwks_uri %q: they are not the addresses of the documents", metadata.ClientID, metadata.JWKSURI)
	}
	var published struct{ Keys []map[string]any }
	s.browser(t).get("/oauth/jwks.json").document(200, &published)
	for i, id := range keys.IDs() {
		if published.Keys[i]["kid"] != id || published.Keys[i]["d"] != nil {
			t.Errorf("key %d is %v, want the public half of %s", i, published.Keys[i], id)
		}
	}
	var got identity.InstanceDocument
	a := s.browser(t).get("/.well-known/did.json")
	a.document(200, &got)
	if diff := cmp.Diff(*doc, got); diff != "" {
		t.Errorf("DID document differs (-want +got):\n%s", diff)
	}
	if got := a.header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("DID document: Cache-Control %q", got)
	}
}
