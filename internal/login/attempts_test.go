package login_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
	"github.com/atoll-social/atoll/test/size"
)

// attempt is one as the client would store it, from an address in origin.
func (i *instance) attempt(n int, origin string) *client.Attempt {
	i.t.Helper()
	key, err := dpop.NewKey()
	i.must(err)
	now := i.clock.now()
	return &client.Attempt{
		State: fmt.Sprintf("state-%037d", n), Issuer: "https://pds.example", Account: alice, RedirectURI: "https://atoll.example.org/oauth/callback",
		Scope: "atproto", KeyID: "key-1", Verifier: fmt.Sprintf("verifier-%034d", n), DPoPKey: key,
		TokenEndpoint: "https://pds.example/token", RevocationEndpoint: "https://pds.example/revoke",
		AppState:  fmt.Appendf(nil, `{"return_to":"/","binding":"AAAA","origin":%q}`, origin),
		CreatedAt: now, ExpiresAt: now.Add(client.AttemptLife),
	}
}

func TestAttemptsComeBackWhole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		want := i.attempt(1, "203.0.113.0/24")
		i.must(i.attempts.Put(t.Context(), want))
		peeked, err := i.attempts.Peek(t.Context(), want.State)
		i.must(err)
		got, err := i.attempts.Take(t.Context(), want.State)
		i.must(err)
		for what, a := range map[string]*client.Attempt{"Peek": peeked, "Take": got} {
			if !a.DPoPKey.Equal(want.DPoPKey) {
				t.Errorf("%s returned another proof key", what)
			}
			if diff := cmp.Diff(plain(want), plain(a)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		if _, err := i.attempts.Take(t.Context(), want.State); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("second Take = %v, want ErrNotFound", err)
		}
		if _, err := i.attempts.Peek(t.Context(), want.State); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("Peek after Take = %v, want ErrNotFound", err)
		}
	})
}

func plain(a *client.Attempt) map[string]string {
	return map[string]string{
		"state": a.State, "issuer": a.Issuer, "account": a.Account.String(), "redirect": a.RedirectURI, "scope": a.Scope,
		"key": a.KeyID, "verifier": a.Verifier, "token": a.TokenEndpoint, "revocation": a.RevocationEndpoint,
		"app": string(a.AppState), "created": a.CreatedAt.String(), "expires": a.ExpiresAt.String(),
	}
}

// S42: state hashed, verifier and proof key sealed and bound to their row.
func TestAttemptSecretsAreSealed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		one, two := i.attempt(1, ""), i.attempt(2, "")
		i.must(i.attempts.Put(t.Context(), one))
		i.must(i.attempts.Put(t.Context(), two))
		jwk, err := one.DPoPKey.PrivateJWK()
		i.must(err)
		private := strings.SplitN(strings.SplitN(string(jwk), `"d":"`, 2)[1], `"`, 2)[0]
		dump := i.dumpAttempts()
		for what, secret := range map[string]string{"state": one.State, "verifier": one.Verifier, "proof key": private} {
			if strings.Contains(dump, secret) {
				t.Errorf("the database holds the %s in the clear", what)
			}
		}
		for _, column := range []string{"verifier", "dpop_key"} {
			i.exec(`UPDATE login_attempt SET ` + column + ` = (SELECT ` + column + ` FROM login_attempt ORDER BY state_hash LIMIT 1)`)
			_, errOne := i.attempts.Peek(t.Context(), one.State)
			_, errTwo := i.attempts.Peek(t.Context(), two.State)
			if !errors.Is(errors.Join(errOne, errTwo), keyring.ErrTampered) {
				t.Errorf("with %s of another row = %v, %v; want ErrTampered for one", column, errOne, errTwo)
			}
			i.exec(`DELETE FROM login_attempt`)
			i.must(i.attempts.Put(t.Context(), one))
			i.must(i.attempts.Put(t.Context(), two))
		}
	})
}

func (i *instance) dumpAttempts() string {
	i.t.Helper()
	rows, err := i.db.Read().QueryContext(i.t.Context(), `SELECT * FROM login_attempt`)
	i.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	i.must(err)
	var b strings.Builder
	for rows.Next() {
		values, targets := make([][]byte, len(columns)), make([]any, len(columns))
		for n := range values {
			targets[n] = &values[n]
		}
		i.must(rows.Scan(targets...))
		for _, v := range values {
			b.Write(v)
			b.WriteByte('\n')
		}
	}
	i.must(rows.Err())
	return b.String()
}

// S11: a flood leaves storage bounded and lets newcomers in, and a member who
// began once still comes back, although every browser of the flood returns its
// cookies and the member's never did.
func TestPendingSignInsAreBounded(t *testing.T) {
	t.Parallel()
	flood := size.Size(160, 4000)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const pending, places = 100, 20
		i := newInstance(t, db)
		i.serve(pending)
		member := i.browser()
		target := member.start("alice.example", "/")
		bots := make([]*browser, places)
		for n := range bots {
			bots[n] = i.browser()
			bots[n].addr = netip.AddrFrom4([4]byte{198, 51, byte(n), 7})
		}
		for n := range flood {
			i.clock.advance(time.Second / 10)
			started := i.pds.asked(bots[n%places].start("bob.example", "/")).Get("state")
			if _, err := i.attempts.Peek(t.Context(), started); err != nil {
				t.Fatalf("newcomer %d: %v", n, err)
			}
		}
		if n := i.count(`SELECT count(*) FROM login_attempt WHERE opened`); n == 0 {
			t.Error("no browser of the flood was seen to return its cookies")
		}
		if n := i.count(`SELECT count(*) FROM login_attempt`); n > pending+pending/100+1 {
			t.Errorf("%d attempts are kept, want about %d", n, pending)
		}
		if out, err := member.comeBack(i.pds.approve(target)); err != nil || out.Result != login.SignedIn {
			t.Errorf("the member who began before the flood = %v, %v; want signed in", out.Result, err)
		}
	})
}

// S11: returning cookies buys a place a part of its room at most, so that who
// does not is not pushed out by the next one.
func TestAPlaceHasFewOpenedSignIns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		i.serve(100) // 10 a place
		bot, member := i.browser(), i.browser()
		flood := func(count int) {
			for range count {
				i.clock.advance(time.Second)
				bot.start("bob.example", "/")
			}
		}
		flood(20)
		target := member.start("alice.example", "/")
		flood(3)
		if n := i.count(`SELECT count(*) FROM login_attempt WHERE opened`); n == 0 || n > 5 {
			t.Errorf("%d attempts of one place count as opened, want some and 5 at most", n)
		}
		if out, err := member.comeBack(i.pds.approve(target)); err != nil || out.Result != login.SignedIn {
			t.Errorf("the member beside the flood = %v, %v; want signed in", out.Result, err)
		}
	})
}

// S11: a flood from one network pushes out its own sign-ins only.
func TestAFloodFromOnePlaceStaysThere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: i.ring, Now: i.clock.now, MaxPending: 100})
		i.must(err)
		real := i.attempt(0, "203.0.113.0/24")
		i.must(attempts.Put(t.Context(), real))
		for n := 1; n <= 150; n++ {
			i.clock.advance(time.Millisecond)
			i.must(attempts.Put(t.Context(), i.attempt(n, "198.51.100.0/24")))
		}
		if n := i.count(`SELECT count(*) FROM login_attempt WHERE origin = '198.51.100.0/24'`); n != 10 {
			t.Errorf("%d attempts of one network are kept, want 10", n)
		}
		if _, err := attempts.Take(t.Context(), real.State); err != nil {
			t.Errorf("the sign-in from elsewhere is gone: %v", err)
		}
	})
}

// A browser that shows the cookie of an earlier attempt vouches for it.
func TestShowingABindingMarksItsAttempt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b, stranger := i.browser(), i.browser()
		stranger.addr = netip.MustParseAddr("198.51.100.1")
		b.start("alice.example", "/")
		for _, name := range b.bindings() {
			stranger.cookies[name] = "1.guessed"
		}
		stranger.start("bob.example", "/")
		if n := i.count(`SELECT count(*) FROM login_attempt WHERE opened`); n != 0 {
			t.Errorf("%d attempts were vouched for by a wrong cookie", n)
		}
		b.start("bob.example", "/")
		if n := i.count(`SELECT count(*) FROM login_attempt WHERE opened`); n != 1 {
			t.Errorf("%d attempts count as opened, want the first of this browser", n)
		}
	})
}

func TestAttemptsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	a := i.attempt(1, "")
	a.AppState = []byte("something else")
	if err := i.attempts.Put(t.Context(), a); err == nil {
		t.Error("Put of an attempt that login did not start succeeded")
	}
}
