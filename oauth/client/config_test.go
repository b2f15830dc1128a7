package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
)

type noDirectory struct{}

func (noDirectory) Lookup(context.Context, syntax.AtIdentifier) (*identity.Identity, error) {
	return nil, identity.ErrDIDNotFound
}

func confidentialConfig(t testing.TB) client.Config {
	t.Helper()
	keys, err := client.NewKeySet(signingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return client.Config{
		ClientID: clientID, RedirectURIs: []string{callbackURL}, Scope: postScope,
		Keys: keys, HTTP: http.DefaultClient, Directory: noDirectory{},
	}
}

// TestClientsThatServersWouldRefuse: S2 and S4; New says why.
func TestClientsThatServersWouldRefuse(t *testing.T) {
	t.Parallel()
	id := func(v string) func(*client.Config) { return func(c *client.Config) { c.ClientID = v } }
	redirect := func(v string) func(*client.Config) { return func(c *client.Config) { c.RedirectURIs = []string{v} } }
	local := func(v string) func(*client.Config) {
		return func(c *client.Config) { loopback(c); c.RedirectURIs = []string{v} }
	}
	for _, c := range []struct {
		name   string
		change func(*client.Config)
		want   string
	}{
		{"IP address", id("https://203.0.113.7/client.json"), "an IP address"},
		{"IPv6 address", id("https://[2001:db8::1]/client.json"), "an IP address"},
		{"no dot", id("https://server/client.json"), "without a dot"},
		{"reserved: test", id("https://app.test/client.json"), ".test is reserved"},
		{"reserved: local", id("https://app.local/client.json"), ".local is reserved"},
		{"reserved: localhost", id("https://app.localhost/client.json"), ".localhost is reserved"},
		{"reserved: invalid", id("https://app.invalid/client.json"), ".invalid is reserved"},
		{"reserved: example", id("https://app.example/client.json"), ".example is reserved"},
		{"reserved: internal", id("https://app.internal/client.json"), ".internal is reserved"},
		{"port", id("https://app.atoll-tests.net:8443/client.json"), "has a port"},
		{"no path", id("https://app.atoll-tests.net"), "has no path"},
		{"only a slash", id("https://app.atoll-tests.net/"), "has no path"},
		{"final slash", id("https://app.atoll-tests.net/client/"), "ends with a slash"},
		{"dot segments", id("https://app.atoll-tests.net/a/../client.json"), "dot segments"},
		{"upper case", id("https://App.atoll-tests.net/client.json"), "canonical"},
		{"credentials", id("https://a:b@app.atoll-tests.net/client.json"), "has credentials"},
		{"fragment", id("https://app.atoll-tests.net/client.json#x"), "has a fragment"},
		{"not https", id("ftp://app.atoll-tests.net/client.json"), "not https"},
		{"not a URL", id("::"), "not a URL"},
		{"redirect on http", redirect("http://app.atoll-tests.net/cb"), "not https"},
		{"redirect to localhost", redirect("https://localhost/cb"), "without a dot"},
		{"no redirect", func(c *client.Config) { c.RedirectURIs = nil }, "redirect URI is missing"},
		{"no key", func(c *client.Config) { c.Keys = nil }, "needs a key"},
		{"empty key set", func(c *client.Config) { c.Keys = &client.KeySet{} }, "needs a key"},
		{"client URI elsewhere", func(c *client.Config) { c.URI = "https://atoll-tests.net/" }, "not above the client id"},
		{"client URI below", func(c *client.Config) { c.URI = "https://app.atoll-tests.net/deeper/" }, "not above the client id"},
		{"logo on http", func(c *client.Config) { c.LogoURI = "http://app.atoll-tests.net/x.png" }, "logo URI"},
		{"keys on http", func(c *client.Config) { c.JWKSURI = "http://app.atoll-tests.net/jwks" }, "keys URI"},
		{"scope without atproto", func(c *client.Config) { c.Scope = "transition:generic" }, "lacks atproto"},
		{"no scope", func(c *client.Config) { c.Scope = "" }, "lacks atproto"},
		{"malformed scope", func(c *client.Config) { c.Scope = "atproto repo:" }, `scope "repo:"`},
		{"no HTTP client", func(c *client.Config) { c.HTTP = nil }, "no HTTP client"},
		{"no directory", func(c *client.Config) { c.Directory = nil }, "no directory"},
		{"negative timeout", func(c *client.Config) { c.Timeout = -time.Second }, "timeout is negative"},

		{"loopback: redirect to localhost", local("http://localhost:8080/cb"), "refuse the name localhost"},
		{"loopback: redirect to the LAN", local("http://192.168.1.5/cb"), "127.0.0.1 or [::1] only"},
		{"loopback: redirect to another loopback", local("http://127.0.0.2/cb"), "127.0.0.1 or [::1] only"},
		{"loopback: https redirect", local("https://127.0.0.1/cb"), "redirected to http"},
		{"loopback: fragment", local("http://127.0.0.1/cb#x"), "has a fragment"},
		{"loopback: credentials", local("http://a@127.0.0.1/cb"), "has credentials"},
		{"loopback: no redirect", func(c *client.Config) { loopback(c); c.RedirectURIs = nil }, "redirect URI is missing"},
		{"loopback: port in the id", func(c *client.Config) { loopback(c); c.ClientID = "http://localhost:8080" }, "without port"},
		{"loopback: path in the id", func(c *client.Config) { loopback(c); c.ClientID = "http://localhost/x" }, "without port, path"},
		{"loopback: by address", func(c *client.Config) { loopback(c); c.ClientID = "http://127.0.0.1" }, "is called http://localhost"},
		{"loopback: on http elsewhere", func(c *client.Config) { loopback(c); c.ClientID = "http://app.atoll-tests.net/x" }, "is called http://localhost"},
		{"loopback: with keys", func(c *client.Config) { k := c.Keys; loopback(c); c.Keys = k }, "public and has no keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := confidentialConfig(t)
			c.change(&cfg)
			if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want an error that says %q", err, c.want)
			}
		})
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := client.New(client.Config{ClientID: "https://app.test/x", RedirectURIs: []string{"http://a"}, Scope: "x"})
	for _, want := range []string{".test is reserved", "not https", "needs a key", "lacks atproto", "no HTTP client", "no directory"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("New = %v, which does not say %q", err, want)
		}
	}
}

// TestLoopbackClientID: S4; no port in the declared redirects.
func TestLoopbackClientID(t *testing.T) {
	t.Parallel()
	cfg := confidentialConfig(t)
	loopback(&cfg)
	cfg.RedirectURIs = []string{"http://127.0.0.1:8080/oauth/callback", "http://[::1]:8080/oauth/callback", "http://127.0.0.1:9090/oauth/callback"}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(c.ID())
	if err != nil || u.Scheme+"://"+u.Host != "http://localhost" || u.Path != "" || !c.IsLoopback() {
		t.Errorf("client id = %q (%v), want http://localhost?…", c.ID(), err)
	}
	want := url.Values{"redirect_uri": {"http://127.0.0.1/oauth/callback", "http://[::1]/oauth/callback"}, "scope": {postScope}}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
	if jwks, err := c.JWKS(); err != nil || string(jwks) != `{"keys":[]}` {
		t.Errorf("JWKS of a public client = %s, %v", jwks, err)
	}
	if m := c.Metadata(); m.TokenEndpointAuthMethod != "none" || m.ApplicationType != "native" || m.JWKSURI != "" || m.TokenEndpointAuthAlg != "" {
		t.Errorf("metadata = %+v, want a public native client", m)
	}
}

// TestPublishedDocuments: S1 and S3; what is published is what signs.
func TestPublishedDocuments(t *testing.T) {
	t.Parallel()
	cfg := confidentialConfig(t)
	cfg.Name, cfg.URI = "Atoll", "https://app.atoll-tests.net/"
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	get := func(h http.HandlerFunc) (*httptest.ResponseRecorder, map[string]any) {
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var doc map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		return w, doc
	}
	w, doc := get(c.ServeMetadata)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("metadata: %d %s, want 200 application/json", w.Code, w.Header().Get("Content-Type"))
	}
	want := map[string]any{
		"client_id": clientID, "application_type": "web", "client_name": "Atoll", "client_uri": cfg.URI,
		"redirect_uris": []any{callbackURL}, "grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		"scope": postScope, "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
		"dpop_bound_access_tokens": true, "jwks_uri": "https://app.atoll-tests.net/oauth/jwks.json",
	}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	w, doc = get(c.ServeJWKS)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("keys: %d %s, want 200 application/json", w.Code, w.Header().Get("Content-Type"))
	}
	keys := doc["keys"].([]any)
	if len(keys) != 1 || len(doc) != 1 {
		t.Fatalf("keys = %v, want one", doc)
	}
	if diff := cmp.Diff([]string{"alg", "crv", "kid", "kty", "use", "x", "y"}, members(keys[0])); diff != "" {
		t.Errorf("members of a key (-want +got): public ones only\n%s", diff)
	}
}

func members(v any) []string {
	var names []string
	for k := range v.(map[string]any) {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func TestKeySets(t *testing.T) {
	t.Parallel()
	one, two := signingKey(t), signingKey(t)
	set, err := client.NewKeySet(two, one)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{two.ID(), one.ID()}, set.IDs()); diff != "" {
		t.Errorf("ids, newest first (-want +got):\n%s", diff)
	}
	for name, keys := range map[string][]*client.SigningKey{"none": nil, "nil": {nil}, "twice": {one, one}} {
		if err := set.Replace(keys...); err == nil {
			t.Errorf("Replace(%s) was accepted", name)
		}
	}
	if len(set.IDs()) != 2 {
		t.Errorf("a refused Replace changed the set: %v", set.IDs())
	}

	jwk, err := one.PrivateJWK()
	if err != nil {
		t.Fatal(err)
	}
	read, err := client.ParseSigningKey(jwk)
	if err != nil || read.ID() != one.ID() {
		t.Errorf("ParseSigningKey(PrivateJWK) = %v, %v; want the same id", read, err)
	}
	if _, err := client.ParseSigningKey([]byte(`{"kty":"oct","k":"canary"}`)); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("ParseSigningKey of another kind = %v, want an error that does not quote it", err)
	}
	var private struct{ D string }
	if err := json.Unmarshal(jwk, &private); err != nil || private.D == "" {
		t.Fatal("PrivateJWK without d")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", one, one, one, struct{ K *client.SigningKey }{one}); strings.Contains(text, private.D) {
		t.Errorf("the key shows itself in %s", text)
	}
	if _, err := json.Marshal(one); err == nil {
		t.Error("json.Marshal(signing key) succeeded")
	}
}
