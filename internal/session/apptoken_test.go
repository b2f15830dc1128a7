package session_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// decode reads a part of a token.
func decode(t *testing.T, part string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// N5: the claims and the published key.
func TestAppTokensSayWhatTheyMust(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	apps, keys := f.apps()
	grant := f.appGrant(apps, alice)
	parts := strings.Split(grant.Access.Reveal(), ".")
	header, claims := decode(t, parts[0]), decode(t, parts[1])
	now := float64(f.clock.now().Unix())
	want := map[string]any{"iss": issuer, "aud": issuer, "sub": string(alice), "sid": grant.SessionID,
		"iat": now, "nbf": now, "exp": now + session.AppTokenLife.Seconds(), "jti": claims["jti"]}
	if diff := cmp.Diff(want, claims); diff != "" || claims["jti"] == "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys.PublicJWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || !set.Keys[0].IsPublic() || set.Keys[0].KeyID != header["kid"] || header["alg"] != "ES256" {
		t.Errorf("published %s, signed with %v; want that key, public members only", keys.PublicJWKS(), header)
	}
	parsed, err := jose.ParseSignedCompact(grant.Access.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(set.Keys[0]); err != nil {
		t.Errorf("the published key does not verify the token: %v", err)
	}
}

// forgery makes tokens that look like ours, with our own key where it must.
type forgery struct {
	key    *ecdsa.PrivateKey
	header map[string]any
	claims map[string]any
	alg    jose.SignatureAlgorithm
	secret []byte // for HS256
}

func (g forgery) token(t *testing.T) string {
	t.Helper()
	payload, err := json.Marshal(g.claims)
	if err != nil {
		t.Fatal(err)
	}
	opts := &jose.SignerOptions{}
	for name, value := range g.header {
		opts = opts.WithHeader(jose.HeaderKey(name), value)
	}
	var key any = g.key
	if g.secret != nil {
		key = g.secret
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: g.alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// storedKey opens the instance's private key behind everybody's back.
func (f *fixture) storedKey() (kid string, key *ecdsa.PrivateKey) {
	f.t.Helper()
	var sealed []byte
	err := f.db.Read().QueryRowContext(f.t.Context(), `SELECT kid, private_key FROM signing_key WHERE purpose = 'app_token'`).Scan(&kid, &sealed)
	if err != nil {
		f.t.Fatal(err)
	}
	plain, err := f.ring.Open(sealed, keyring.Place{Table: "signing_key", Column: "private_key", Key: kid})
	if err != nil {
		f.t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(plain, &jwk); err != nil {
		f.t.Fatal(err)
	}
	return kid, jwk.Key.(*ecdsa.PrivateKey)
}

// N5: what is refused, one change at a time to a token that is good without it.
func TestAppTokenAttacks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	apps, keys := f.apps()
	grant, other := f.appGrant(apps, alice), f.appGrant(apps, bob)
	kid, key := f.storedKey()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	coordinate := point[1:33]
	now := f.clock.now().Unix()
	good := func() forgery {
		return forgery{key: key, alg: jose.ES256, header: map[string]any{"kid": kid, "typ": "atoll-app+jwt"}, claims: map[string]any{
			"iss": issuer, "aud": issuer, "sub": string(alice), "sid": grant.SessionID, "jti": "x", "iat": now, "nbf": now, "exp": now + 60}}
	}
	if _, err := apps.Authenticate(t.Context(), good().token(t)); err != nil {
		t.Fatalf("the token that the table starts from is refused: %v", err)
	}
	set := func(name string, value any) func(*forgery) { return func(g *forgery) { g.claims[name] = value } }
	for name, change := range map[string]func(*forgery){
		"wrong audience":             set("aud", "https://other.example.org"),
		"one audience more":          set("aud", []string{issuer, "https://other.example.org"}),
		"no audience":                func(g *forgery) { delete(g.claims, "aud") },
		"wrong issuer":               set("iss", issuer+"/"),
		"expired":                    set("exp", now),
		"never expires":              func(g *forgery) { delete(g.claims, "exp") },
		"not yet valid":              set("nbf", now+60),
		"issued in the future":       func(g *forgery) { g.claims["iat"], g.claims["exp"] = now+60, now+90 },
		"lives longer than a day":    set("exp", now+24*3600+1),
		"another member":             set("sub", string(bob)),
		"another member's session":   set("sid", other.SessionID),
		"no member":                  set("sub", "alice"),
		"no session":                 func(g *forgery) { delete(g.claims, "sid") },
		"unknown session":            set("sid", session.NewAppID()),
		"no id":                      func(g *forgery) { delete(g.claims, "jti") },
		"unknown key id":             func(g *forgery) { g.header["kid"] = "unknown" },
		"no key id":                  func(g *forgery) { delete(g.header, "kid") },
		"a stranger's key":           func(g *forgery) { g.key = stranger },
		"brings its key along":       func(g *forgery) { g.key, g.header["jwk"] = stranger, jose.JSONWebKey{Key: &stranger.PublicKey} },
		"another type":               func(g *forgery) { g.header["typ"] = "at+jwt" },
		"no type":                    func(g *forgery) { delete(g.header, "typ") },
		"HS256 with the public key":  func(g *forgery) { g.alg, g.secret = jose.HS256, keys.PublicJWKS() },
		"HS256 with its coordinates": func(g *forgery) { g.alg, g.secret = jose.HS256, coordinate },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := good()
			change(&g)
			if caller, err := apps.Authenticate(t.Context(), g.token(t)); err == nil {
				t.Errorf("accepted as %+v", caller)
			}
		})
	}
	parts := strings.Split(good().token(t), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"` + kid + `","typ":"atoll-app+jwt"}`))
	for name, token := range map[string]string{
		"alg none, signed": none + "." + parts[1] + "." + parts[2], "alg none": none + "." + parts[1] + ".",
		"no signature": parts[0] + "." + parts[1] + ".", "empty": "", "huge": strings.Repeat("a", 1<<20),
		"the refresh secret": grant.Refresh.Reveal(),
	} {
		if _, err := apps.Authenticate(t.Context(), token); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The keys rotate by themselves: the next is published before it signs, the old
// one stays until its tokens are over, and every process follows.
func TestTokenKeysRotate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, keys := f.apps()
		published := func() int {
			t.Helper()
			if err := keys.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(keys.PublicJWKS(), &set); err != nil {
				t.Fatal(err)
			}
			return len(set.Keys)
		}
		kid := func(g session.AppGrant) any {
			return decode(t, strings.Split(g.Access.Reveal(), ".")[0])["kid"]
		}
		first := f.appGrant(apps, alice)
		for _, step := range []struct {
			after     time.Duration
			published int
			changed   bool
		}{
			{session.TokenKeyLife - time.Minute, 1, false},
			{time.Minute, 2, false},
			{session.KeyLead, 2, true},
			{24 * time.Hour, 2, true},
			{time.Hour, 1, true},
		} {
			f.clock.advance(step.after)
			if n := published(); n != step.published {
				t.Errorf("%v later %d keys are published, want %d", step.after, n, step.published)
			}
			grant := f.appGrant(apps, alice)
			if changed := kid(grant) != kid(first); changed != step.changed {
				t.Errorf("%v later: signed by a new key = %v, want %v", step.after, changed, step.changed)
			}
			other, _ := f.apps()
			if _, err := other.Authenticate(t.Context(), grant.Access.Reveal()); err != nil {
				t.Errorf("another process refuses the token: %v", err)
			}
		}
	})
}

// N5: the instance's keys are none of the OAuth client's.
func TestTokenKeysAreNotClientKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	_, tokens := f.apps()
	keys, err := session.NewKeys(session.KeysConfig{DB: f.db, Ring: f.ring, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range keys.Set().IDs() {
		if strings.Contains(string(tokens.PublicJWKS()), id) {
			t.Errorf("client key %s is published as the instance's", id)
		}
	}
	jwks, err := keys.Set().PublicJWKS()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(tokens.PublicJWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if strings.Contains(string(jwks), k.KeyID) {
			t.Errorf("token key %s is published as the client's", k.KeyID)
		}
	}
}
