package servicetoken

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const (
	alice    = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob      = syntax.DID("did:plc:bobaaaaaaaaaaaaaaaaaaaaa")
	instance = syntax.DID("did:web:app.example.com")
	method   = syntax.NSID("social.coves.community.post.create")
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// registry is the directory: the keys of accounts, with a cache that a look-up
// by DID answers from.
type registry struct {
	mu           sync.Mutex
	keys, cached map[syntax.DID]atcrypto.PublicKey
	lookups      int
	fresh        int
	fail         error
}

func (r *registry) LookupDID(_ context.Context, did syntax.DID) (*sdk.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	if r.cached == nil {
		r.cached = maps.Clone(r.keys)
	}
	return r.identity(r.cached, did)
}

func (r *registry) Remembers(syntax.DID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cached != nil
}

// free lets everything be looked up.
func free() error { return nil }

func (r *registry) LookupFresh(_ context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if maxAge <= 0 {
		return nil, errors.New("every wrong token would be a look-up")
	}
	r.fresh++
	return r.identity(r.keys, id.DID())
}

func (r *registry) identity(keys map[syntax.DID]atcrypto.PublicKey, did syntax.DID) (*sdk.Identity, error) {
	key, ok := keys[did]
	if r.fail != nil {
		return nil, r.fail
	}
	if !ok {
		return nil, &identity.Error{Subject: did.String(), Reason: identity.ErrDIDNotFound}
	}
	ident := &sdk.Identity{DID: did, Handle: "somebody.example.com", Keys: map[string]sdk.VerificationMethod{}}
	if key != nil {
		ident.Keys["atproto"] = sdk.VerificationMethod{Type: "Multikey", PublicKeyMultibase: key.Multibase()}
	}
	return ident, nil
}

// signer is an account's key.
type signer struct {
	private atcrypto.PrivateKey
	alg     string
}

func newKey(t testing.TB, alg string) signer {
	t.Helper()
	var key atcrypto.PrivateKey
	var err error
	if alg == "ES256" {
		key, err = atcrypto.GeneratePrivateKeyP256()
	} else {
		key, err = atcrypto.GeneratePrivateKeyK256()
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, alg}
}

func (s signer) public(t testing.TB) atcrypto.PublicKey {
	t.Helper()
	key, err := s.private.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// good are the claims of a token that is.
func good() map[string]any {
	return map[string]any{"iss": alice, "aud": instance, "lxm": method, "jti": fmt.Sprint(time.Now().UnixNano()),
		"exp": start.Add(time.Minute).Unix(), "iat": start.Unix()}
}

func (s signer) sign(header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(header)) + "." + enc([]byte(claims))
	sig, err := s.private.HashAndSign([]byte(signed))
	if err != nil {
		panic(err)
	}
	return signed + "." + enc(sig)
}

// token signs claims that change has altered.
func (s signer) token(change func(header, claims map[string]any)) string {
	header, claims := map[string]any{"typ": "JWT", "alg": s.alg}, good()
	if change != nil {
		change(header, claims)
	}
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return s.sign(string(h), string(c))
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func newVerifier(t testing.TB, db *store.DB, r *registry, now func() time.Time) *Verifier {
	t.Helper()
	v, err := New(Config{DB: db, Directory: r, Audience: instance, Service: identity.InstanceServiceID,
		Logger: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAttacks holds A9 for service tokens: each check refuses what only it can
// refuse, and a token that passes all of them names its account.
func TestAttacks(t *testing.T) {
	t.Parallel()
	p256, k256, mallory := newKey(t, "ES256"), newKey(t, "ES256K"), newKey(t, "ES256K")
	r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: k256.public(t), bob: p256.public(t), "did:plc:keyless": nil}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	set := func(name string, value any) func(h, c map[string]any) {
		return func(_, c map[string]any) { c[name] = value }
	}
	head := func(name string, value any) func(h, c map[string]any) {
		return func(h, _ map[string]any) { h[name] = value }
	}
	drop := func(name string) func(h, c map[string]any) { return func(_, c map[string]any) { delete(c, name) } }
	after := func(d time.Duration) int64 { return start.Add(d).Unix() }
	longest := strings.Repeat("x", 512)
	byBob := func(_, c map[string]any) { c["iss"] = bob }
	tests := []struct {
		name  string
		token string
		who   syntax.DID // empty: refused
	}{
		{"good", k256.token(nil), alice},
		{"good, P-256", p256.token(byBob), bob},
		{"to the service", k256.token(set("aud", instance+"#atoll_appview")), alice},
		{"without a type", k256.token(func(h, _ map[string]any) { delete(h, "typ") }), alice},
		{"in the name of its server", k256.token(set("iss", alice+"#atproto_pds")), alice},
		{"good for ten minutes", k256.token(set("exp", after(10*time.Minute))), alice},
		{"a clock that is ahead", k256.token(set("iat", after(20*time.Second))), alice},
		{"the longest jti", k256.token(set("jti", longest)), alice},

		{"signed by another", mallory.token(nil), ""},
		{"signed by another account", p256.token(func(h, _ map[string]any) { h["alg"] = "ES256K" }), ""},
		{"another account's name", k256.token(byBob), ""},
		{"by nobody", k256.token(set("iss", "did:plc:nobodyaaaaaaaaaaaaaaaaa")), ""},
		{"by an account without a key", k256.token(set("iss", "did:plc:keyless")), ""},
		{"by no account", k256.token(set("iss", "https://pds.example.com")), ""},
		{"by a labeler", k256.token(set("iss", alice+"#atproto_labeler")), ""},
		{"for another server", k256.token(set("aud", "did:web:other.example.com")), ""},
		{"for a name that begins like ours", k256.token(set("aud", instance+".evil.example.com")), ""},
		{"for another service of ours", k256.token(set("aud", instance+"#other")), ""},
		{"for several servers", k256.token(set("aud", []any{instance, "did:web:other.example.com"})), ""},
		{"for nobody", k256.token(drop("aud")), ""},
		{"for another method", k256.token(set("lxm", "social.coves.community.post.delete")), ""},
		{"for every method", k256.token(set("lxm", "*")), ""},
		{"for no method", k256.token(drop("lxm")), ""},
		{"expired", k256.token(set("exp", after(0))), ""},
		{"without an end", k256.token(drop("exp")), ""},
		{"good for too long", k256.token(set("exp", after(time.Hour))), ""},
		{"good for ever", k256.token(set("exp", int64(1)<<62)), ""},
		{"an end that is no number", k256.token(set("exp", "soon")), ""},
		{"issued in the future", k256.token(set("iat", after(time.Minute))), ""},
		{"not good yet", k256.token(set("nbf", after(time.Minute))), ""},
		{"without a jti", k256.token(drop("jti")), ""},
		{"an endless jti", k256.token(set("jti", longest+"x")), ""},
		{"an access token", k256.token(head("typ", "at+jwt")), ""},
		{"a refresh token", k256.token(head("typ", "refresh+jwt")), ""},
		{"a proof", k256.token(head("typ", "dpop+jwt")), ""},
		{"unsigned", k256.token(head("alg", "none")), ""},
		{"another algorithm", k256.token(head("alg", "ES256")), ""},
		{"a secret that both know", k256.token(head("alg", "HS256")), ""},
		{"must be understood", k256.token(head("crit", []string{"b64"})), ""},
		{"a claim twice", k256.sign(`{"alg":"ES256K"}`, claimsWith(`"iss":"`+string(bob)+`",`)), ""},
		{"a claim twice, in capitals", k256.sign(`{"alg":"ES256K"}`, claimsWith(`"LXM":"x",`)), ""},
		{"two objects", k256.sign(`{"alg":"ES256K"}`, claimsWith("")+"{}"), ""},
		{"altered", strings.Replace(k256.token(nil), ".", ".e", 1), ""},
		{"cut off", strings.TrimRight(k256.token(nil), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), ""},
		{"no token", "abc", ""},
		{"nothing", "", ""},
		{"huge", k256.token(set("x", strings.Repeat("x", 5000))), ""},
	}
	for _, tt := range tests {
		who, err := v.Verify(t.Context(), tt.token, method, false, free)
		if who.DID != tt.who || (err == nil) != (tt.who != "") {
			t.Errorf("%s: %+v, %v; want %q", tt.name, who, err, tt.who)
		}
		if err != nil && (fault.KindOf(err) != fault.Unauthenticated || fault.From(err).Code != "AuthRequired") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// claimsWith are good claims that begin with more.
func claimsWith(more string) string {
	raw, _ := json.Marshal(good())
	return "{" + more + string(raw[1:])
}

// TestNobodyIsAskedInVain holds that a token which is refused for what it says
// costs no look-up.
func TestNobodyIsAskedInVain(t *testing.T) {
	t.Parallel()
	key := newKey(t, "ES256K")
	r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: key.public(t)}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	for _, name := range []string{"aud", "lxm", "exp", "jti"} {
		if _, err := v.Verify(t.Context(), key.token(func(_, c map[string]any) { delete(c, name) }), method, false, free); err == nil {
			t.Errorf("without %s: accepted", name)
		}
	}
	if r.lookups != 0 || r.fresh != 0 {
		t.Errorf("%d look-ups and %d fresh ones", r.lookups, r.fresh)
	}
}

// TestReplay holds that a token works once: in a process, and where it changes
// something in all of them, also after a restart.
func TestReplay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		key := newKey(t, "ES256K")
		c := &clock{at: start}
		r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: key.public(t), bob: key.public(t)}}
		one, other := newVerifier(t, db, r, c.now), newVerifier(t, db, r, c.now)
		for _, write := range []bool{false, true} {
			token := key.token(nil)
			if _, err := one.Verify(t.Context(), token, method, write, free); err != nil {
				t.Fatal(err)
			}
			if _, err := one.Verify(t.Context(), token, method, write, free); err == nil {
				t.Errorf("again, write %v: accepted", write)
			}
			if _, err := other.Verify(t.Context(), token, method, write, free); write == (err == nil) {
				t.Errorf("again elsewhere, write %v: %v", write, err)
			}
		}
		// The jti of one account is not that of another.
		same := func(iss syntax.DID) string {
			return key.token(func(_, c map[string]any) { c["iss"], c["jti"] = iss, "same" })
		}
		for _, iss := range []syntax.DID{alice, bob} {
			if _, err := one.Verify(t.Context(), same(iss), method, true, free); err != nil {
				t.Errorf("%s: %v", iss, err)
			}
		}
		c.pass(time.Hour)
		later := key.token(func(_, claims map[string]any) {
			claims["exp"], claims["iat"] = c.now().Add(time.Minute).Unix(), c.now().Unix()
		})
		if _, err := one.Verify(t.Context(), later, method, true, free); err != nil {
			t.Error(err)
		}
		var rows int
		if err := db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM service_token`).Scan(&rows); err != nil || rows != 1 || len(one.used.used) != 1 {
			t.Errorf("%d rows and %d in memory are kept, want those that are still good (%v)", rows, len(one.used.used), err)
		}
	})
}

// TestReplayAtOnce holds that of many copies of a token sent at once, to two
// processes, one gets through.
func TestReplayAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		key := newKey(t, "ES256")
		r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: key.public(t)}}
		both := []*Verifier{newVerifier(t, db, r, func() time.Time { return start }), newVerifier(t, db, r, func() time.Time { return start })}
		token := key.token(nil)
		var wg sync.WaitGroup
		accepted := make(chan int, 100)
		for i := range 20 {
			wg.Go(func() {
				if _, err := both[i%2].Verify(context.Background(), token, method, true, free); err == nil {
					accepted <- i
				}
			})
		}
		wg.Wait()
		if len(accepted) != 1 {
			t.Errorf("%d got through, want 1", len(accepted))
		}
	})
}

// TestFullWindow holds that what a process remembers is bounded, and that nothing
// gets through twice when it is full.
func TestFullWindow(t *testing.T) {
	t.Parallel()
	key := newKey(t, "ES256")
	r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: key.public(t)}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	v.used.size = 50
	for i := range v.used.size {
		t := parsed{issuer: bob, claims: claims{ID: fmt.Sprint(i)}}
		v.used.take(t.name(), start.Add(time.Minute).Unix())
	}
	token := key.token(nil)
	if _, err := v.Verify(t.Context(), token, method, false, free); err != nil {
		t.Errorf("first: %v", err)
	}
	if _, err := v.Verify(t.Context(), token, method, false, free); err == nil || len(v.used.used) != v.used.size {
		t.Errorf("again: accepted, with %d in memory", len(v.used.used))
	}
}

// TestKeyRotation holds that a new key works at once, and that the old one does
// not afterwards.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	before, after := newKey(t, "ES256K"), newKey(t, "ES256")
	r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: before.public(t)}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	if _, err := v.Verify(t.Context(), before.token(nil), method, false, free); err != nil || r.fresh != 0 {
		t.Errorf("before: %v, %d fresh look-ups", err, r.fresh)
	}
	r.mu.Lock()
	r.keys[alice] = after.public(t)
	r.mu.Unlock()
	if _, err := v.Verify(t.Context(), after.token(nil), method, false, free); err != nil || r.fresh != 1 {
		t.Errorf("the new key: %v, %d fresh look-ups", err, r.fresh)
	}
	r.mu.Lock()
	r.cached = nil
	r.mu.Unlock()
	if _, err := v.Verify(t.Context(), before.token(nil), method, false, free); err == nil {
		t.Error("the old key is still accepted")
	}
}

// TestLookUpsAreAskedFor holds that somebody who signs nothing that is good cannot
// have us ask others as often as they like.
func TestLookUpsAreAskedFor(t *testing.T) {
	t.Parallel()
	good, wrong := newKey(t, "ES256K"), newKey(t, "ES256K")
	r := &registry{keys: map[syntax.DID]atcrypto.PublicKey{alice: good.public(t)}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	enough := fault.New(fault.Limited, "Enough.")
	left := 0
	ask := func() error {
		if left--; left < 0 {
			return enough
		}
		return nil
	}
	try := func(what string, key signer, looks int, want error) {
		t.Helper()
		before := r.lookups + r.fresh
		_, err := v.Verify(t.Context(), key.token(nil), method, false, ask)
		if !errors.Is(err, want) || r.lookups+r.fresh != before+looks {
			t.Errorf("%s: %v and %d look-ups, want %v and %d", what, err, r.lookups+r.fresh-before, want, looks)
		}
	}
	try("nobody may be asked", good, 0, enough)
	left = 1
	try("a wrong key, one look-up", wrong, 1, enough)
	try("a wrong key, remembered, none", wrong, 1, enough) // of what is remembered
	try("a good key, remembered", good, 1, nil)
}

// TestDirectoryDown holds that trouble of ours is not the caller's mistake.
func TestDirectoryDown(t *testing.T) {
	t.Parallel()
	key := newKey(t, "ES256")
	r := &registry{fail: &identity.Error{Subject: alice.String(), Reason: identity.ErrUnavailable}}
	v := newVerifier(t, storetest.New(t, store.SQLite), r, func() time.Time { return start })
	if _, err := v.Verify(t.Context(), key.token(nil), method, false, free); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

// TestLooks holds what is taken for a service token at all.
func TestLooks(t *testing.T) {
	t.Parallel()
	key := newKey(t, "ES256")
	for token, want := range map[string]bool{
		key.token(nil): true,
		key.token(func(_, c map[string]any) { delete(c, "lxm") }): false,
		"abc": false, "": false, "a.b.c": false, strings.Repeat("x", 5000): false,
	} {
		if Looks(token) != want {
			t.Errorf("Looks(%.60q) = %v", token, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := newKey(f, "ES256")
	f.Add(key.token(nil))
	f.Add("e30.e30.")
	f.Add(key.sign(`{"alg":"ES256","typ":null}`, `{"iss":1,"exp":1e3}`))
	f.Fuzz(func(t *testing.T, token string) {
		p, err := parse(token)
		if err == nil && (p.issuer == "" || p.claims.ID == "" || p.claims.Method == "" || p.claims.Expires == 0) {
			t.Errorf("%q is taken for a token: %+v", token, p)
		}
	})
}
