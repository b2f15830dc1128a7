package dpop_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/atoll-social/atoll/oauth/dpop"
)

func TestAProofHoldsNothingButWhatRFC9449Names(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	text := sign(t, key, dpop.Proof{Method: "GET", URL: "https://PDS1.test:443/xrpc/a.b.c?x=1#y", Time: start, AccessToken: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", Nonce: "n"})
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(jws.Signatures[0].Protected.JSONWebKey)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	id, err := base64.RawURLEncoding.DecodeString(claims["jti"].(string))
	if err != nil || len(id) < 12 {
		t.Errorf("jti = %v, want at least 96 random bits", claims["jti"])
	}
	delete(claims, "jti")
	got := fmt.Sprint(claims)
	want := fmt.Sprint(map[string]any{
		"htm": "GET", "htu": "https://pds1.test/xrpc/a.b.c", "iat": float64(start.Unix()), "nonce": "n",
		"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo", // RFC 9449, 7.1
	})
	if got != want {
		t.Errorf("claims = %s\nwant     %s", got, want)
	}
	header, err := base64.RawURLEncoding.DecodeString(text[:strings.IndexByte(text, '.')])
	if err != nil || strings.Contains(string(header), `"d"`) || !strings.Contains(string(header), `"typ":"dpop+jwt"`) {
		t.Errorf("header = %s (%v), want typ dpop+jwt and a public key", header, err)
	}
}

func TestEveryProofIsAnotherOne(t *testing.T) {
	t.Parallel()
	key, seen := newKey(t), map[string]bool{}
	for range 500 {
		text := sign(t, key, dpop.Proof{Method: "GET", URL: target, Time: start})
		payload := strings.Split(text, ".")[1]
		if seen[payload] {
			t.Fatalf("the same claims were signed twice: %s", payload)
		}
		seen[payload] = true
	}
}

func TestNormalizeURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://pds.test":                  "https://pds.test/",
		"https://PDS.Test:443/A?b=c#d":      "https://pds.test/A",
		"http://localhost:80/":              "http://localhost/",
		"http://127.0.0.1:2583/xrpc/a":      "http://127.0.0.1:2583/xrpc/a",
		"http://[::1]:2583/a":               "http://[::1]:2583/a",
		"https://[2001:DB8::1]/a":           "https://[2001:db8::1]/a",
		"https://pds.test/a/./b/../c":       "https://pds.test/a/c",
		"https://pds.test/%7Ea%2fb%3a":      "https://pds.test/~a%2Fb%3A",
		"https://pds.test//a":               "https://pds.test//a",
		"https://pds.test/.well-known/x":    "https://pds.test/.well-known/x",
		"/a":                                "",
		"pds.test/a":                        "",
		"ftp://pds.test/a":                  "",
		"https:///a":                        "",
		"https:pds.test":                    "",
		"https://user:pw@pds.test/a":        "",
		"https://pds.test/%zz":              "",
		"https://pds.test/a b\x00":          "",
		"at://did:plc:abc/app.bsky.feed/xy": "",
	} {
		got, err := dpop.NormalizeURL(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("NormalizeURL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestKeysDoNotShowThemselves(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	text, err := key.PrivateJWK()
	if err != nil {
		t.Fatal(err)
	}
	var jwk struct{ D, X string }
	if err := json.Unmarshal(text, &jwk); err != nil || jwk.D == "" {
		t.Fatalf("PrivateJWK = %v without d", err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "in", struct{ K *dpop.Key }{key})
	out := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x", key, key, key, key, key, key) + fmt.Sprintf("%+v", struct{ K *dpop.Key }{key})
	if strings.Contains(out, jwk.D) || strings.Contains(out, jwk.X) {
		t.Errorf("the key shows itself in %s", out)
	}
	if _, err := json.Marshal(key); !errors.Is(err, dpop.ErrKeyIsSecret) {
		t.Errorf("json.Marshal(key) = %v, want ErrKeyIsSecret", err)
	}
	read, err := dpop.ParseKey(text)
	if err != nil || !read.Equal(key) || read.Equal(newKey(t)) || read.Equal(nil) {
		t.Errorf("ParseKey(PrivateJWK) = %v; Equal is wrong", err)
	}
	if _, err := dpop.ParseKey([]byte(jwk.D)); err == nil || strings.Contains(err.Error(), jwk.D) {
		t.Errorf("ParseKey of rubbish = %v, want an error that does not quote it", err)
	}
}

func TestNoncesAreKeptPerKeyAndOrigin(t *testing.T) {
	t.Parallel()
	n := dpop.NewNonces(10)
	answer := func(values ...string) http.Header { return http.Header{"Dpop-Nonce": values} }
	if got := n.Learn("a", "https://one", answer("n1")); got != "n1" {
		t.Errorf("Learn = %q, want n1", got)
	}
	n.Learn("a", "https://two", answer("n2"))
	for _, bad := range []http.Header{answer(), answer(""), answer("x", "y"), answer(`a"b`), answer("a b"), answer("ä"), answer(strings.Repeat("x", 513))} {
		if got := n.Learn("a", "https://one", bad); got != "" {
			t.Errorf("Learn(%.40q) = %q, want nothing learnt", bad, got)
		}
	}
	for _, c := range []struct{ key, origin, want string }{
		{"a", "https://one", "n1"}, {"a", "https://two", "n2"}, {"b", "https://one", ""},
	} {
		if got := n.Get(c.key, c.origin); got != c.want {
			t.Errorf("Get(%q, %q) = %q, want %q", c.key, c.origin, got, c.want)
		}
	}
	for i := range 1000 { // a flood leaves memory bounded and the one in use known
		n.Learn(fmt.Sprint(i), "https://one", answer("x"))
		n.Get("a", "https://one")
	}
	known := 0
	for i := range 1000 {
		if n.Get(fmt.Sprint(i), "https://one") != "" {
			known++
		}
	}
	if known > 20 {
		t.Errorf("%d nonces are kept, want 20 at most", known)
	}
}

func TestClocksLearnFromDate(t *testing.T) {
	t.Parallel()
	answer := func(ahead time.Duration) http.Header {
		return http.Header{"Date": {start.Add(ahead).Format(http.TimeFormat)}}
	}
	for _, c := range []struct {
		name     string
		response http.Header
		want     time.Duration
	}{
		{"equal", answer(0), 0},
		{"latency", answer(-4 * time.Second), 0},
		{"ahead", answer(5 * time.Minute), 5 * time.Minute},
		{"behind", answer(-5 * time.Minute), -5 * time.Minute},
		{"an hour", answer(time.Hour), time.Hour},
		{"absurd", answer(48 * time.Hour), 0},
		{"missing", http.Header{}, 0},
		{"not a date", http.Header{"Date": {"soon"}}, 0},
		{"out of a cache", http.Header{"Date": answer(-time.Hour)["Date"], "Age": {"3600"}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clocks := dpop.NewClocks(4)
			changed := clocks.Learn("https://one", c.response, start)
			if got := clocks.Offset("https://one"); got != c.want || changed != (c.want != 0) {
				t.Errorf("offset = %v (changed %v), want %v", got, changed, c.want)
			}
			clocks.Learn("https://one", answer(0), start)
			if got := clocks.Offset("https://one"); got != 0 {
				t.Errorf("offset after the clocks agree again = %v, want 0", got)
			}
		})
	}
}

func TestReplayMemoryIsBoundedAndNeverForgetsWhatItWouldAccept(t *testing.T) {
	t.Parallel()
	key, replays, now := newKey(t), dpop.NewReplays(50), start
	checker := newChecker(t, func(cfg *dpop.CheckerConfig) {
		cfg.Replays, cfg.Now = replays, func() time.Time { return now }
	})
	var used []string
	expect := dpop.Expect{Method: "GET", URL: target}
	for i := range 300 { // three proofs a second: more than it can remember for a minute
		if i%3 == 0 {
			now = now.Add(time.Second)
		}
		text := sign(t, key, dpop.Proof{Method: "GET", URL: target, Time: now})
		if _, err := checker.Check([]string{text}, expect); err != nil {
			t.Fatalf("proof %d: %v", i, err)
		}
		used = append(used, text)
		if replays.Len() > 50 {
			t.Fatalf("%d proofs remembered, want 50 at most", replays.Len())
		}
	}
	now = now.Add(-90 * time.Second) // even when our own clock goes back
	for range 2 {
		for i, text := range used {
			if _, err := checker.Check([]string{text}, expect); err == nil {
				t.Fatalf("proof %d was accepted twice", i)
			}
		}
		now = now.Add(90 * time.Second)
	}
	now = now.Add(time.Hour)
	if _, err := checker.Check([]string{sign(t, key, dpop.Proof{Method: "GET", URL: target, Time: now})}, expect); err != nil {
		t.Fatal(err)
	}
	if replays.Len() != 1 {
		t.Errorf("%d proofs remembered after an hour, want 1", replays.Len())
	}
}

func TestAClockThatGoesBackForgivesNoReplay(t *testing.T) {
	t.Parallel()
	key, now := newKey(t), start
	checker := newChecker(t, func(cfg *dpop.CheckerConfig) { cfg.Now = func() time.Time { return now } })
	check := func(text string) error {
		_, err := checker.Check([]string{text}, dpop.Expect{Method: "GET", URL: target})
		return err
	}
	first := sign(t, key, dpop.Proof{Method: "GET", URL: target, Time: now})
	if err := check(first); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := check(sign(t, key, dpop.Proof{Method: "GET", URL: target, Time: now})); err != nil {
		t.Fatal(err)
	}
	now = start
	if err := check(first); !errors.Is(err, dpop.ErrTime) {
		t.Errorf("a forgotten proof after the clock went back = %v, want ErrTime", err)
	}
}

func TestOneOfManyConcurrentReplaysPasses(t *testing.T) {
	t.Parallel()
	checker, text := newChecker(t, nil), sign(t, newKey(t), dpop.Proof{Method: "GET", URL: target, Time: start})
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 32 {
		wg.Go(func() {
			if _, err := checker.Check([]string{text}, dpop.Expect{Method: "GET", URL: target}); err == nil {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if passed != 1 {
		t.Errorf("%d of 32 uses of one proof passed, want 1", passed)
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://PDS.test:443/xrpc/a?b")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := dpop.Origin(u); got != "https://pds.test" || err != nil {
		t.Errorf("Origin = %q, %v", got, err)
	}
}
