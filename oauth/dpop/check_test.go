package dpop_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/atoll-social/atoll/oauth/dpop"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	target = "https://pds1.test/xrpc/com.atproto.repo.createRecord"
	token  = "access-token-of-a-test"
)

func newKey(t testing.TB) *dpop.Key {
	t.Helper()
	k, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newChecker(t testing.TB, change func(*dpop.CheckerConfig)) *dpop.Checker {
	t.Helper()
	cfg := dpop.CheckerConfig{Replays: dpop.NewReplays(100), Now: func() time.Time { return start }}
	if change != nil {
		change(&cfg)
	}
	c, err := dpop.NewChecker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sign(t testing.TB, k *dpop.Key, p dpop.Proof) string {
	t.Helper()
	text, err := k.Sign(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAProofPassesOnceForItsOwnRequest(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good := dpop.Proof{Method: "POST", URL: target, Time: start, AccessToken: token}
	want := dpop.Expect{Method: "POST", URL: target, AccessToken: token, Thumbprint: key.Thumbprint()}
	for _, c := range []struct {
		name  string
		proof func(*dpop.Proof)
		want  func(*dpop.Expect)
		err   error
	}{
		{name: "as expected"},
		{name: "query and fragment don't count", proof: func(p *dpop.Proof) { p.URL += "?a=b" }, want: func(e *dpop.Expect) { e.URL += "?c=d#e" }},
		{name: "default port and case of the host don't count", proof: func(p *dpop.Proof) { p.URL = strings.Replace(target, "pds1.test", "PDS1.test:443", 1) }},
		{name: "other method", want: func(e *dpop.Expect) { e.Method = "GET" }, err: dpop.ErrMethod},
		{name: "method in another case", proof: func(p *dpop.Proof) { p.Method = "post" }, err: dpop.ErrMethod},
		{name: "other path", want: func(e *dpop.Expect) { e.URL = target + "s" }, err: dpop.ErrURL},
		{name: "other host", want: func(e *dpop.Expect) { e.URL = strings.Replace(target, "pds1", "pds2", 1) }, err: dpop.ErrURL},
		{name: "other scheme", proof: func(p *dpop.Proof) { p.URL = strings.Replace(target, "https", "http", 1) }, err: dpop.ErrURL},
		{name: "other port", proof: func(p *dpop.Proof) { p.URL = strings.Replace(target, "pds1.test", "pds1.test:8443", 1) }, err: dpop.ErrURL},
		{name: "as old as allowed", proof: func(p *dpop.Proof) { p.Time = start.Add(-time.Minute) }},
		{name: "too old", proof: func(p *dpop.Proof) { p.Time = start.Add(-61 * time.Second) }, err: dpop.ErrTime},
		{name: "as far ahead as allowed", proof: func(p *dpop.Proof) { p.Time = start.Add(time.Minute) }},
		{name: "from the future", proof: func(p *dpop.Proof) { p.Time = start.Add(61 * time.Second) }, err: dpop.ErrTime},
		{name: "other token", proof: func(p *dpop.Proof) { p.AccessToken = "other" }, err: dpop.ErrTokenHash},
		{name: "no ath with a token", proof: func(p *dpop.Proof) { p.AccessToken = "" }, err: dpop.ErrTokenHash},
		{name: "ath without a token", want: func(e *dpop.Expect) { e.AccessToken = "" }, err: dpop.ErrTokenHash},
		{name: "other key", want: func(e *dpop.Expect) { e.Thumbprint = newKey(t).Thumbprint() }, err: dpop.ErrOtherKey},
		{name: "nothing bound yet", want: func(e *dpop.Expect) { e.Thumbprint = "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proof, expect := good, want
			if c.proof != nil {
				c.proof(&proof)
			}
			if c.want != nil {
				c.want(&expect)
			}
			checker, text := newChecker(t, nil), sign(t, key, proof)
			got, err := checker.Check([]string{text}, expect)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("Check(%+v) against %+v = %v, want %v", proof, expect, err, c.err)
			}
			if err != nil {
				return
			}
			if got.Thumbprint != key.Thumbprint() || len(got.ID) < 16 || !got.Time.Equal(proof.Time) {
				t.Errorf("checked = %+v, want the key's thumbprint, an id of 96 bits or more and the time", got)
			}
			if _, err := checker.Check([]string{text}, expect); !errors.Is(err, dpop.ErrReplayed) {
				t.Errorf("second Check = %v, want ErrReplayed", err)
			}
		})
	}
}

// forge signs header and claims of the test's choosing with go-jose.
func forge(t *testing.T, alg jose.SignatureAlgorithm, key any, header, claims map[string]any) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	for k, v := range header {
		opts.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestForgedProofsAreRefused(t *testing.T) {
	t.Parallel()
	var jwk jose.JSONWebKey
	text, err := newKey(t).PrivateJWK()
	if err != nil {
		t.Fatal(err)
	}
	if err := jwk.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"typ": "dpop+jwt", "jwk": jwk.Public()}
	claims := map[string]any{"jti": "0123456789abcdef", "htm": "POST", "htu": target, "iat": start.Unix()}
	with := func(m map[string]any, key string, value any) map[string]any {
		m = maps.Clone(m)
		if m[key] = value; value == nil {
			delete(m, key)
		}
		return m
	}
	es256 := func(header, claims map[string]any) string { return forge(t, jose.ES256, jwk.Key, header, claims) }
	valid := es256(header, claims)
	parts := strings.Split(valid, ".")
	enc := base64.RawURLEncoding
	swap := func(part int, text string) string {
		p := append([]string{}, parts...)
		p[part] = enc.EncodeToString([]byte(text))
		return strings.Join(p, ".")
	}
	rawHeader, err := enc.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	private := strings.TrimSuffix(string(text), "}") + "}"
	for _, c := range []struct {
		name    string
		headers []string
		err     error
	}{
		{"none", nil, dpop.ErrMissing},
		{"empty", []string{""}, dpop.ErrMissing},
		{"two headers", []string{valid, es256(header, with(claims, "jti", "other-one-0123456"))}, dpop.ErrSeveral},
		{"the same twice", []string{valid, valid}, dpop.ErrSeveral},
		{"two in one header", []string{valid + ", " + valid}, dpop.ErrSeveral},
		{"not a JWS", []string{"a.b"}, dpop.ErrMalformed},
		{"endless", []string{parts[0] + "." + strings.Repeat("a", 9000) + "." + parts[2]}, dpop.ErrMalformed},
		{"padding", []string{parts[0] + "=." + parts[1] + "." + parts[2]}, dpop.ErrMalformed},
		{"typ missing", []string{es256(with(header, "typ", nil), claims)}, dpop.ErrMalformed},
		{"typ of an access token", []string{es256(with(header, "typ", "at+jwt"), claims)}, dpop.ErrMalformed},
		{"crit", []string{swap(0, strings.Replace(string(rawHeader), "{", `{"crit":["x"],"x":1,`, 1))}, dpop.ErrMalformed},
		{"repeated member", []string{swap(0, strings.Replace(string(rawHeader), "{", `{"alg":"none",`, 1))}, dpop.ErrMalformed},
		{"alg none", []string{swap(0, strings.Replace(string(rawHeader), "ES256", "none", 1))}, dpop.ErrAlgorithm},
		{"alg symmetric", []string{forge(t, jose.HS256, []byte(strings.Repeat("k", 32)), header, claims)}, dpop.ErrAlgorithm},
		{"no key", []string{es256(with(header, "jwk", nil), claims)}, dpop.ErrKey},
		{"private key in the open", []string{swap(0, `{"typ":"dpop+jwt","alg":"ES256","jwk":`+private+`}`)}, dpop.ErrKey},
		{"key off the curve", []string{swap(0, `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"`+strings.Repeat("A", 43)+`","y":"`+strings.Repeat("A", 43)+`"}}`)}, dpop.ErrMalformed},
		{"claims changed", []string{swap(1, `{"jti":"0123456789abcdef","htm":"POST","htu":"`+target+`","iat":1}`)}, dpop.ErrSignature},
		{"signature cut", []string{valid[:len(valid)-4]}, dpop.ErrSignature},
		{"signature of another key", []string{forge(t, jose.ES256, otherKey(t), header, claims)}, dpop.ErrSignature},
		{"no jti", []string{es256(header, with(claims, "jti", nil))}, dpop.ErrMalformed},
		{"endless jti", []string{es256(header, with(claims, "jti", strings.Repeat("j", 300)))}, dpop.ErrMalformed},
		{"jti is a number", []string{es256(header, with(claims, "jti", 1))}, dpop.ErrMalformed},
		{"no htm", []string{es256(header, with(claims, "htm", nil))}, dpop.ErrMalformed},
		{"no htu", []string{es256(header, with(claims, "htu", nil))}, dpop.ErrMalformed},
		{"htu with credentials", []string{es256(header, with(claims, "htu", "https://a:b@pds1.test/"))}, dpop.ErrMalformed},
		{"htu of another scheme", []string{es256(header, with(claims, "htu", "ftp://pds1.test/"))}, dpop.ErrMalformed},
		{"no iat", []string{es256(header, with(claims, "iat", nil))}, dpop.ErrMalformed},
		{"iat is text", []string{es256(header, with(claims, "iat", "now"))}, dpop.ErrMalformed},
		{"iat is absurd", []string{es256(header, with(claims, "iat", 1e300))}, dpop.ErrMalformed},
		{"iat is negative", []string{es256(header, with(claims, "iat", -1))}, dpop.ErrMalformed},
		{"claims are a list", []string{es256Raw(t, jwk.Key, header, `[]`)}, dpop.ErrMalformed},
		{"claim repeated", []string{es256Raw(t, jwk.Key, header, `{"jti":"a","jti":"b","htm":"POST","htu":"`+target+`","iat":1772366400}`)}, dpop.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			replays := dpop.NewReplays(10)
			checker := newChecker(t, func(cfg *dpop.CheckerConfig) { cfg.Replays = replays })
			_, err := checker.Check(c.headers, dpop.Expect{Method: "POST", URL: target})
			if !errors.Is(err, c.err) {
				t.Errorf("Check(%.120q) = %v, want %v", c.headers, err, c.err)
			}
			if replays.Len() != 0 {
				t.Errorf("a refused proof was remembered as used")
			}
		})
	}
	if _, err := newChecker(t, nil).Check([]string{valid}, dpop.Expect{Method: "POST", URL: target}); err != nil {
		t.Errorf("the proof that the others were made from is refused itself: %v", err)
	}
}

func otherKey(t *testing.T) any {
	t.Helper()
	text, err := newKey(t).PrivateJWK()
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return jwk.Key
}

func es256Raw(t *testing.T, key any, header map[string]any, payload string) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	for k, v := range header {
		opts.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNonceFailuresDoNotUseUpAProof(t *testing.T) {
	t.Parallel()
	key, fresh := newKey(t), "nonce-1"
	checker := newChecker(t, func(cfg *dpop.CheckerConfig) {
		cfg.Nonce = func(nonce string, _ time.Time) bool { return nonce == fresh }
	})
	expect := dpop.Expect{Method: "POST", URL: target}
	for _, nonce := range []string{"", "nonce-0"} {
		text := sign(t, key, dpop.Proof{Method: "POST", URL: target, Time: start, Nonce: nonce})
		for range 2 {
			if _, err := checker.Check([]string{text}, expect); !errors.Is(err, dpop.ErrNonce) {
				t.Errorf("Check with nonce %q = %v, want ErrNonce", nonce, err)
			}
		}
	}
	text := sign(t, key, dpop.Proof{Method: "POST", URL: target, Time: start, Nonce: fresh})
	if got, err := checker.Check([]string{text}, expect); err != nil || got.Nonce != fresh {
		t.Errorf("Check with the fresh nonce = %+v, %v", got, err)
	}
}

func TestNewCheckerRefusesUnsafeSettings(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]dpop.CheckerConfig{
		"no replay memory": {},
		"symmetric":        {Replays: dpop.NewReplays(1), Algorithms: []jose.SignatureAlgorithm{jose.HS256}},
		"none":             {Replays: dpop.NewReplays(1), Algorithms: []jose.SignatureAlgorithm{"none"}},
		"negative window":  {Replays: dpop.NewReplays(1), MaxAge: -1},
	} {
		if _, err := dpop.NewChecker(cfg); err == nil {
			t.Errorf("%s: NewChecker accepted it", name)
		}
	}
}
