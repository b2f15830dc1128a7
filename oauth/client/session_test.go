package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
	"github.com/atoll-social/atoll/test/size"
)

const method = hostile.PDS + "/xrpc/com.atproto.repo.createRecord"

// TestCredentialsGoToThePDSOnly: S27.
func TestCredentialsGoToThePDSOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	s := f.session(t)
	for name, change := range map[string]func(*http.Request){
		"another host":           func(r *http.Request) { r.URL.Host = "other.test" },
		"the issuer":             func(r *http.Request) { r.URL.Host = "auth.test" },
		"a longer name":          func(r *http.Request) { r.URL.Host = "pds1.test.other.test" },
		"another port":           func(r *http.Request) { r.URL.Host = "pds1.test:8443" },
		"plain http":             func(r *http.Request) { r.URL.Scheme = "http" },
		"credentials in the URL": func(r *http.Request) { r.URL.Host = "x@pds1.test" },
		"another Host":           func(r *http.Request) { r.Host = "other.test" },
		"no scheme":              func(r *http.Request) { r.URL.Scheme = "" },
	} {
		before := f.net.SeenAt(hostile.PDS) + f.net.SeenAt(hostile.Other) + f.net.SeenAt(hostile.Issuer)
		body := &closeCounter{Reader: strings.NewReader("x")}
		req := newRequest(t, "POST", method)
		req.Body = body
		change(req)
		if _, err := s.Do(req); !errors.Is(err, client.ErrWrongHost) {
			t.Errorf("%s: Do = %v, want ErrWrongHost", name, err)
		}
		if after := f.net.SeenAt(hostile.PDS) + f.net.SeenAt(hostile.Other) + f.net.SeenAt(hostile.Issuer); after != before {
			t.Errorf("%s: something was sent", name)
		}
		if body.closed == 0 {
			t.Errorf("%s: the body was not closed", name)
		}
	}
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

// TestRedirectsOfCallsAreNotFollowed: even by a client that would, and keeps cookies.
func TestRedirectsOfCallsAreNotFollowed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *client.Config) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg.HTTP.Jar = jar
		cfg.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	})
	s := f.session(t)
	for _, to := range []string{hostile.Other + "/steal", "http://169.254.169.254/", "/xrpc/other"} {
		f.net.Override(method, func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "track", Value: "you"})
			redirect(to)(w, r)
		})
		_, err := s.Do(newRequest(t, "GET", method))
		var server *client.ServerError
		if !errors.Is(err, client.ErrRedirected) || !errors.As(err, &server) || server.URL != method || server.Status != 307 {
			t.Errorf("Do, redirected to %s = %v, want ErrRedirected of %s", to, err, method)
		}
	}
	if f.net.SeenAt(hostile.Other) != 0 || len(f.net.Seen("/xrpc/other")) != 0 {
		t.Error("a redirect was followed")
	}
	for _, seen := range f.net.Seen("createRecord") {
		if seen.Header.Get("Cookie") != "" {
			t.Errorf("a cookie was kept: %s", seen.Header.Get("Cookie"))
		}
	}
}

func TestRequestsAreNotChangedAndBodiesAreSentAgain(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 1000)
	type body struct {
		make func() (io.ReadCloser, func() (io.ReadCloser, error))
		err  error
	}
	plain := func(s string) func() (io.ReadCloser, func() (io.ReadCloser, error)) {
		return func() (io.ReadCloser, func() (io.ReadCloser, error)) {
			return io.NopCloser(struct{ io.Reader }{strings.NewReader(s)}), nil
		}
	}
	for name, b := range map[string]body{
		"with GetBody": {make: func() (io.ReadCloser, func() (io.ReadCloser, error)) {
			get := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			first, _ := get()
			return first, get
		}},
		"short, read once": {make: plain(text)},
		"long, read once":  {make: plain(strings.Repeat("x", 1<<20+1)), err: client.ErrBodyNotReplayable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			s := f.session(t)
			var got []string
			f.net.Override(method, func(w http.ResponseWriter, r *http.Request) {
				sent, err := io.ReadAll(r.Body)
				got = append(got, fmt.Sprint(len(sent), r.ContentLength, err))
				if len(got) == 1 {
					w.Header().Set("DPoP-Nonce", "fresh")
					w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
					w.WriteHeader(401)
				}
			})
			req := newRequest(t, "POST", method)
			req.Body, req.GetBody = b.make()
			if req.GetBody != nil {
				req.ContentLength = int64(len(text))
			}
			req.Header.Set("Authorization", "Bearer mine")
			req.Header.Set("X-Mine", "1")
			resp, err := s.Do(req)
			if !errors.Is(err, b.err) || (err == nil) != (b.err == nil) {
				t.Fatalf("Do = %v, want %v", err, b.err)
			}
			if b.err != nil {
				if !errors.Is(err, client.ErrBadNonce) {
					t.Errorf("Do = %v, want to hear about the nonce too", err)
				}
				return
			}
			_ = resp.Body.Close()
			if diff := cmp.Diff([]string{"10000 10000 <nil>", "10000 10000 <nil>"}, got); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
			if req.Header.Get("Authorization") != "Bearer mine" || req.Header.Get("DPoP") != "" {
				t.Error("Do changed the caller's request")
			}
			seen := f.net.Seen("createRecord")[1].Header
			if !strings.HasPrefix(seen.Get("Authorization"), "DPoP ") || len(seen.Values("Authorization")) != 1 || seen.Get("X-Mine") != "1" {
				t.Errorf("sent Authorization %.10q, X-Mine %q", seen.Values("Authorization"), seen.Get("X-Mine"))
			}
		})
	}
}

// TestRefusalsAreToldApart: S37, in the words of official servers and of the RFCs.
func TestRefusalsAreToldApart(t *testing.T) {
	t.Parallel()
	dpop := func(code, description string) string {
		return fmt.Sprintf(`DPoP algs="RS256 ES256", error=%q, error_description="%s"`, code, strings.ReplaceAll(description, `"`, `\"`))
	}
	for name, c := range map[string]refusal{
		"revoked, official":             {401, dpop("invalid_token", "Invalid token"), `{"error":"invalid_token","message":"Invalid token"}`, client.ErrRevoked},
		"revoked, challenge only":       {401, `DPoP error="invalid_token"`, "", client.ErrRevoked},
		"expired, official":             {401, `DPoP error="invalid_token"`, `{"error":"invalid_token","message":"\"exp\" claim timestamp check failed"}`, client.ErrTokenExpired},
		"expired, official, session":    {401, dpop("invalid_token", "Token expired"), "", client.ErrTokenExpired},
		"expired, RFC 6750":             {401, dpop("invalid_token", "The access token expired"), "", client.ErrTokenExpired},
		"expired, XRPC":                 {400, "", `{"error":"ExpiredToken","message":"Token has expired"}`, client.ErrTokenExpired},
		"wrong host, audience":          {401, dpop("invalid_token", "Invalid audience (got: did:web:a, expected one of: did:web:b)"), "", client.ErrWrongHost},
		"wrong host, sounds like scope": {400, "", `{"error":"InvalidToken","message":"Bad token scope"}`, client.ErrWrongHost},
		"wrong scheme, Bearer server":   {401, `Bearer realm="x"`, `{"error":"AuthenticationRequired"}`, client.ErrWrongScheme},
		"wrong scheme, words":           {401, dpop("invalid_token", "Access token is bound to a DPoP proof, but token type is Bearer"), "", client.ErrWrongScheme},
		"wrong scheme, no OAuth":        {400, "", `{"error":"InvalidToken","message":"Unsupported authorization type: DPoP"}`, client.ErrWrongScheme},
		"wrong scheme, taken for a JWT": {400, "", `{"error":"InvalidToken","message":"Malformed token"}`, client.ErrWrongScheme},
		"other key":                     {401, dpop("invalid_token", "Invalid DPoP key binding"), "", client.ErrProofRefused},
		"proof":                         {401, dpop("invalid_dpop_proof", "DPoP htu mismatch"), "", client.ErrProofRefused},
		"proof's time":                  {401, `DPoP error="invalid_dpop_proof"`, `{"error":"invalid_dpop_proof","message":"Failed to verify DPoP proof: \"iat\" claim timestamp check failed (too far in the past)"}`, client.ErrClock},
		"nonce without a value":         {401, dpop("use_dpop_nonce", "x"), "", client.ErrBadNonce},
		"missing scope, official":       {403, "", `{"error":"ScopeMissingError","message":"Missing required scope \"repo:a.b.c?action=create\""}`, client.ErrMissingScope},
		"missing scope, RFC 6750":       {403, `DPoP error="insufficient_scope", scope="repo:a.b.c?action=create"`, "", client.ErrMissingScope},
		"atproto missing":               {401, dpop("invalid_token", "Invalid scope (got: x, expected one of: atproto)"), "", client.ErrMissingScope},
		"rate limited":                  {429, "", `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`, client.ErrRateLimited},
		"rate limited, HTML":            {429, "", `<html>`, client.ErrRateLimited},
		"deactivated":                   {401, "", `{"error":"AccountDeactivated","message":"Account is deactivated"}`, client.ErrDeactivated},
		"taken down":                    {401, "", `{"error":"AccountTakedown","message":"Account has been taken down"}`, client.ErrTakenDown},
		"gone":                          {403, "", `{"error":"AccountNotFound","message":"Account not found"}`, client.ErrAccountGone},
		"two challenges":                {401, `Bearer realm="a, b=\"c\"", DPoP algs="ES256", error="invalid_token"`, "", client.ErrRevoked},

		"not about the session: swap":         {400, "", `{"error":"InvalidSwap","message":"Record was at x"}`, nil},
		"not about the session: bad request":  {400, "", `{"error":"InvalidRequest","message":"scope expired audience"}`, nil},
		"not about the session: other's repo": {401, "", `{"error":"AuthenticationRequired","message":"Authentication Required"}`, nil},
		"not about the session: other gone":   {400, "", `{"error":"AccountNotFound","message":"user not found"}`, nil},
		"not about the session: 404":          {404, "", `nothing`, nil},
		"not about the session: 500":          {500, dpop("invalid_token", "x"), `{"error":"invalid_token"}`, nil},
		"not about the session: HTML":         {403, "", `<h1>insufficient_scope</h1>`, nil},
		"success with a strange header":       {200, dpop("invalid_token", "x"), `{}`, nil},
		"not modified":                        {304, "", ``, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
}

// refusal is an answer of a member's server, and what it means; nil is nothing.
type refusal struct {
	status    int
	challenge string
	body      string
	want      error
}

func (c refusal) check(t *testing.T) {
	t.Helper()
	f := newFixture(t, nil)
	s := f.session(t)
	f.net.Override(method, func(w http.ResponseWriter, _ *http.Request) {
		if c.challenge != "" {
			w.Header().Set("WWW-Authenticate", c.challenge)
		}
		if strings.HasPrefix(c.body, "{") {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		w.WriteHeader(c.status)
		fmt.Fprint(w, c.body)
	})
	resp, err := s.Do(newRequest(t, "GET", method))
	if c.want == nil {
		if err != nil {
			t.Fatalf("Do = %v, want the response as it is", err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); string(got) != c.body || err != nil || resp.StatusCode != c.status {
			t.Errorf("response = %d %q (%v), want %d %q", resp.StatusCode, got, err, c.status, c.body)
		}
		return
	}
	var access *client.AccessError
	if !errors.Is(err, c.want) || !errors.As(err, &access) || access.Status != c.status {
		t.Fatalf("Do = %v, want an AccessError of %v", err, c.want)
	}
	if c.want == client.ErrMissingScope && !strings.Contains(c.challenge, "expected one of: atproto") && access.Missing.String() != "repo:a.b.c?action=create" { //nolint:errorlint // a table's value
		t.Errorf("missing scope = %q, want what the server named", access.Missing)
	}
	want := 1
	if errors.Is(c.want, client.ErrTokenExpired) || errors.Is(c.want, client.ErrRevoked) {
		want = 2 // with new tokens, which this server refuses as well
	}
	if got := len(f.net.Seen("createRecord")); got != want {
		t.Errorf("%d requests were sent, want %d", got, want)
	}
}

func TestRateLimitsSayUntilWhen(t *testing.T) {
	t.Parallel()
	var clock testClock
	clock.set(someTime)
	at := func(d time.Duration) time.Time { return someTime.Add(d) }
	for name, c := range map[string]struct {
		header, value string
		want          time.Time
	}{
		"seconds":            {"Retry-After", "120", at(2 * time.Minute)},
		"date":               {"Retry-After", at(time.Hour).Format(http.TimeFormat), at(time.Hour).Truncate(time.Second)},
		"official":           {"RateLimit-Reset", fmt.Sprint(at(5 * time.Minute).Unix()), at(5 * time.Minute).Truncate(time.Second)},
		"delta of the draft": {"RateLimit-Reset", "30", at(30 * time.Second)},
		"absurd":             {"Retry-After", "99999999", at(24 * time.Hour)},
		"past":               {"RateLimit-Reset", fmt.Sprint(at(-time.Minute).Unix()), time.Time{}},
		"negative":           {"Retry-After", "-5", time.Time{}},
		"nonsense":           {"Retry-After", "soon", time.Time{}},
		"nothing":            {"X", "y", time.Time{}},
	} {
		f := newFixture(t, func(cfg *client.Config) { cfg.Now = clock.now })
		s := f.session(t)
		limited := func(w http.ResponseWriter, r *http.Request) { w.Header().Set(c.header, c.value); status(429)(w, r) }
		f.net.Override(method, limited)
		_, callErr := s.Do(newRequest(t, "GET", method))
		f.net.Override(parURL, limited)
		_, startErr := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
		for what, err := range map[string]error{"call": callErr, "sign-in": startErr} {
			got, ok := client.RetryAt(err)
			if !errors.Is(err, client.ErrRateLimited) || !got.Equal(c.want) || ok != !c.want.IsZero() || !client.Temporary(err) {
				t.Errorf("%s: %s = %v until %v, want ErrRateLimited until %v", name, what, err, got, c.want)
			}
		}
	}
}

func TestAnExpiredTokenIsNotSent(t *testing.T) {
	t.Parallel()
	var clock testClock
	clock.set(time.Now())
	f := newFixture(t, func(cfg *client.Config) { cfg.Now = clock.now })
	d := f.signIn(t)
	clock.add(time.Hour)
	alone, err := client.New(client.Config{
		ClientID: clientID, RedirectURIs: []string{callbackURL}, Scope: postScope, Keys: f.keys,
		HTTP: f.net.Client(), Directory: f.net, Now: clock.now, // and no store: nothing can be renewed
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := alone.Resume(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(newRequest(t, "GET", method)); !errors.Is(err, client.ErrTokenExpired) {
		t.Errorf("Do after an hour, without a store = %v, want ErrTokenExpired", err)
	}
	if len(f.net.Seen("createRecord")) != 0 {
		t.Error("the expired token was sent")
	}
}

// TestClockSkew: S35, signing in and calling with a clock that is off, against
// servers that check the time before the nonce.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, time.Hour, -time.Hour} {
		for kind, change := range map[string]func(*client.Config){"confidential": func(*client.Config) {}, "loopback": loopback} {
			t.Run(fmt.Sprint(kind, skew), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, change)
				f.net.ClockOffset, f.net.Timed, f.net.NonceEvery = skew, true, 3
				s := f.session(t)
				for range 10 {
					resp, err := s.Do(newRequest(t, "GET", method))
					if err != nil {
						t.Fatalf("Do with a server %v ahead: %v", skew, err)
					}
					_ = resp.Body.Close()
				}
				if got := f.ClockSkew(hostile.PDS); (got - skew).Abs() > 5*time.Second {
					t.Errorf("reported skew = %v, want about %v", got, skew)
				}
			})
		}
	}
}

// TestAClockThatJumps: the offset that was right is wrong now; the refused
// proof is sent again once.
func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.net.Timed = true
	s := f.session(t)
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		f.net.ClockOffset = skew
		before := len(f.net.Seen("createRecord"))
		resp, err := s.Do(newRequest(t, "GET", method))
		if err != nil {
			t.Fatalf("Do after the server's clock jumped to %v: %v", skew, err)
		}
		_ = resp.Body.Close()
		if sent := len(f.net.Seen("createRecord")) - before; sent > 2 {
			t.Errorf("%d requests after a jump to %v, want 2 at most", sent, skew)
		}
	}
}

// TestNoncesAreLearntFromEveryResponse: S28, also from refusals and successes.
func TestNoncesAreLearntFromEveryResponse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	s, other := f.session(t), f.session(t)
	call := func(s *client.Session) int {
		t.Helper()
		before := len(f.net.Seen("createRecord"))
		resp, err := s.Do(newRequest(t, "GET", method))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return len(f.net.Seen("createRecord")) - before
	}
	got := []int{call(s), call(s), call(other), call(s)}
	if diff := cmp.Diff([]int{2, 1, 2, 1}, got); diff != "" {
		t.Errorf("requests for each call (-want +got): a session learns its own nonces\n%s", diff)
	}
	f.net.Override(method, func(w http.ResponseWriter, r *http.Request) {
		f.net.Override(method, nil)
		w.Header().Set("DPoP-Nonce", "nonce-none")
		w.WriteHeader(404)
	})
	if n := call(s); n != 1 {
		t.Errorf("%d requests for a call that is answered 404, want 1", n)
	}
	if n := call(s); n != 2 {
		t.Errorf("%d requests after a 404 that gave a stale nonce, want 2: it must have been learnt", n)
	}
}

// TestManyCallsLeaveNothingBehind: S28. It counts the goroutines of the whole
// process, so it does not run beside other tests.
func TestManyCallsLeaveNothingBehind(t *testing.T) { //nolint:paralleltest // see above
	calls := size.Size(2_000, 10_000)
	f := newFixture(t, nil)
	f.net.NonceEvery = 100
	store := &countingStore{SessionStore: f.sessions}
	c, err := client.New(client.Config{
		ClientID: clientID, RedirectURIs: []string{callbackURL}, Scope: postScope, Keys: f.keys,
		HTTP: f.net.Client(), Directory: f.net, Attempts: f.attempts, Sessions: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := f.signIn(t).ID
	run := func(n int) {
		const workers = 4
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range n / workers {
					s, err := c.Session(context.Background(), id)
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := s.Do(newRequest(t, "POST", method))
					if err != nil {
						t.Errorf("Do: %v", err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		wg.Wait()
	}
	run(100)
	open, ever := f.net.Connections()
	goroutines := runtime.NumGoroutine()
	run(calls)
	openAfter, everAfter := f.net.Connections()
	if openAfter > open+4 || everAfter > ever+8 {
		t.Errorf("connections: %d open (%d before), %d made (%d before); want them flat", openAfter, open, everAfter, ever)
	}
	if now := fewGoroutines(goroutines + 16); now > goroutines+16 {
		t.Errorf("goroutines: %d, %d before; want them flat", now, goroutines)
	}
	if challenged := len(f.net.Seen("createRecord")) - calls - 100; challenged < 1 {
		t.Errorf("%d calls were challenged for a nonce; the test proves nothing", challenged)
	}
	if store.saves.Load() != 0 || store.gets.Load() != int64(calls+100) {
		t.Errorf("%d calls cost %d reads and %d writes of the store, want one read each and no write", calls+100, store.gets.Load(), store.saves.Load())
	}
}

// TestRefusedBodiesAreClosed: a connection is used again after a challenge, a
// refusal and a redirect whose bodies nobody wants.
func TestRefusedBodiesAreClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	s := f.session(t)
	_, before := f.net.Connections()
	for i := range 60 {
		f.net.Override(method, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("DPoP-Nonce", fmt.Sprint("n", i))
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader([]int{401, 429, 302}[i%3])
			fmt.Fprint(w, strings.Repeat("<p>", 5000))
		})
		if _, err := s.Do(newRequest(t, "GET", method)); err == nil {
			t.Fatal("Do succeeded")
		}
	}
	if _, after := f.net.Connections(); after > before+1 {
		t.Errorf("%d connections were made by refused calls, want none or one", after-before)
	}
}

// TestConcurrentCallsOfOneSession runs under the race detector.
func TestConcurrentCallsOfOneSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.net.NonceEvery = 50
	s := f.session(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				req, err := http.NewRequestWithContext(context.Background(), "POST", method, bytes.NewReader([]byte("x")))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := s.Do(req)
				if err != nil {
					t.Errorf("Do: %v", err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

func TestSessionsThatCannotBe(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	if _, err := f.Session(context.Background(), "x"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Session(unknown) = %v, want ErrNotFound", err)
	}
	full := fullSession(t)
	if _, err := f.Resume(full); err != nil {
		t.Errorf("Resume(whole data) = %v", err)
	}
	for name, spoil := range map[string]func(*client.SessionData){
		"no key":   func(d *client.SessionData) { d.DPoPKey = nil },
		"no token": func(d *client.SessionData) { d.AccessToken = "" },
		"no PDS":   func(d *client.SessionData) { d.PDS = "" },
	} {
		d := full.Clone()
		spoil(d)
		if _, err := f.Resume(d); err == nil {
			t.Errorf("%s: Resume accepted it", name)
		}
	}
}
