package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
)

// standings says how members stand, and keeps what they give.
type standings struct {
	standing agent.Standing
	refuse   error
	given    []string
	removed  []syntax.DID
}

func (f *standings) Standing(_ context.Context, did syntax.DID) (agent.Standing, error) {
	s := f.standing
	s.DID = did
	return s, nil
}

func (f *standings) Give(_ context.Context, did syntax.DID, password keyring.Secret) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.given = append(f.given, did.String()+" "+password.Reveal())
	return nil
}

func (f *standings) Remove(_ context.Context, did syntax.DID) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.removed = append(f.removed, did)
	return nil
}

func (f *standings) Info(_ context.Context, did syntax.DID) (agent.PasswordInfo, bool, error) {
	return agent.PasswordInfo{}, len(f.given) > 0 && !slices.Contains(f.removed, did), nil
}

func newDelegation(t *testing.T) (*site, *standings) {
	t.Helper()
	f := &standings{standing: agent.Standing{State: agent.Connected, Way: agent.ByOAuth, PDS: "https://pds.one.test", Ways: []agent.WayStanding{
		{Way: agent.ByOAuth, Open: true, Why: "You are signed in."}, {Way: agent.ByAppPassword, Why: "You have given no app password."}}}}
	return newSite(t, func(c *Config) { c.Standings, c.Passwords = f, f }), f
}

// A3, A4: the page says which way is in use and why, and what is possible.
func TestDelegationPage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(s *agent.Standing)
		says   []string
		lacks  []string
	}{
		{"by sign-in", func(*agent.Standing) {}, []string{"Atoll writes for you by your sign-in", "You have given no app password.", "in use"},
			[]string{"Remove the app password", "Sign in again"}},
		{"by password", func(s *agent.Standing) { s.Way, s.Ways[1].Given, s.Ways[1].Open = agent.ByAppPassword, true, true },
			[]string{"by your app password", "Remove the app password", "possible"}, []string{"Sign in again"}},
		{"signed out", func(s *agent.Standing) {
			s.State, s.Mend, s.Way = agent.WantsSignIn, agent.MendBySignIn, agent.ByNothing
		},
			[]string{"until you sign in again", "Sign in again"}, []string{"in use"}},
		{"a refused password", func(s *agent.Standing) {
			s.State, s.Mend, s.Way, s.Ways[1].Given = agent.WantsSignIn, agent.MendByNewPassword, agent.ByNothing, true
		}, []string{"does not take your app password any more", "Sign in again", "Remove the app password"}, nil},
		{"not everything allowed elsewhere", func(s *agent.Standing) {
			s.State, s.Mend, s.Missing, s.SessionID = agent.WantsScope, agent.MendByUpgrade, []string{"repo:social.coves.feed.vote"}, "another"
		}, []string{"have not allowed everything", "Sign in again"}, []string{"Give this permission"}},
		{"not active", func(s *agent.Standing) { s.State, s.Way = agent.Inactive, agent.ByNothing }, []string{"not active there"}, []string{"Sign in again"}},
		{"ends", func(s *agent.Standing) { s.ExpiresAt = sampleNow.Add(48 * time.Hour) }, []string{"Your sign-in ends", "in 2 days", "unless it is used before"}, nil},
		{"server unknown", func(s *agent.Standing) { s.PDS = "" }, []string{"cannot be found out"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, f := newDelegation(t)
			tt.change(&f.standing)
			s.member(t, alice).get("/account/delegation").is(200, tt.says...).lacks(tt.lacks...)
		})
	}
	s, f := newDelegation(t)
	b := s.member(t, alice)
	device, _, err := s.sessions.Device(t.Context(), s.cfg.Cookies.Device(b.request()))
	if err != nil {
		t.Fatal(err)
	}
	f.standing.State, f.standing.Mend, f.standing.Missing = agent.WantsScope, agent.MendByUpgrade, []string{"repo:social.coves.feed.vote"}
	f.standing.SessionID = device.Accounts[0].SessionID
	b.get("/account/delegation").is(200, "Give this permission", `value="repo:social.coves.feed.vote"`).lacks("Sign in again")
	s.browser(t).get("/account/delegation").leads("/sign-in?return_to=%2Faccount%2Fdelegation")
	b.get("/account").is(200, `href="/account/delegation"`)
	plain := newSite(t)
	plain.member(t, alice).get("/account").is(200).lacks("/account/delegation")
}

// request is an empty one with the browser's cookies.
func (b *browser) request() *http.Request {
	r := &http.Request{Header: http.Header{}}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// A4: a password goes to where it is checked, for the account that acts, and is
// never shown again.
func TestGivingAPassword(t *testing.T) {
	t.Parallel()
	s, f := newDelegation(t)
	b := s.member(t, alice)
	const secret = "canary-password"
	give := func(acting, password string) *answer {
		return b.post("/account/delegation/password", "acting", acting, "password", password)
	}
	give(alice.DID, secret).leads("/account/delegation")
	if len(f.given) != 1 || f.given[0] != alice.DID+" "+secret {
		t.Errorf("given %q", f.given)
	}
	f.refuse = fault.New(fault.Invalid, "Your server does not take this.").WithCode("WrongPassword")
	give(alice.DID, secret).is(400, "Your server does not take this.", `id="password-wrong"`).lacks(secret)
	f.refuse = fault.New(fault.Unavailable, "Your server does not answer.")
	give(alice.DID, secret).is(503, "Your server does not answer.").lacks(secret, "password-wrong")
	f.refuse = errors.New("secret detail")
	give(alice.DID, secret).is(500).lacks(secret, "secret detail")
	f.refuse = nil
	b.signIn(bob)
	give(alice.DID, secret).is(409).lacks(secret) // switched in another tab
	give("", secret).is(409).lacks(secret)
	foreign := b.form("/account/delegation/password", "acting", bob.DID, "password", secret)
	foreign.Header.Set("Origin", "https://evil.example.com")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	b.send(foreign).is(403)
	s.browser(t).post("/account/delegation/password", "acting", alice.DID, "password", secret).is(401).lacks(secret)
	give(bob.DID, strings.Repeat("x", 20<<10)).is(413)
	if len(f.given) != 1 {
		t.Errorf("given %q", f.given)
	}
	b.post("/account/delegation/password/remove", "acting", bob.DID).leads("/account/delegation")
	if len(f.removed) != 1 || f.removed[0].String() != bob.DID {
		t.Errorf("removed of %v", f.removed)
	}
}

// Who signs out everywhere reads that the app password stays, and can take it
// back with the same button; not otherwise.
func TestSigningOutEverywhereAndTheAppPassword(t *testing.T) {
	t.Parallel()
	const both, says = "Sign out everywhere and remove the app password", "also after you have signed out everywhere"
	s, f := newDelegation(t)
	s.member(t, alice).get("/account").is(200, "Sign out everywhere").lacks(both, says)
	f.given = []string{"one"}
	here, there := s.member(t, alice), s.member(t, alice)
	here.get("/account").is(200, both, says)
	here.post("/account/sign-out-everywhere", "acting", alice.DID).leads("/")
	there.get("/account").leads("/sign-in?return_to=%2Faccount")
	if len(f.removed) != 0 {
		t.Fatalf("the password of %v was removed unasked", f.removed)
	}
	here.signIn(alice)
	f.refuse = errors.New("no database")
	here.post("/account/sign-out-everywhere", "acting", alice.DID, "password", "remove").is(500)
	here.get("/account").is(200, both) // still here, to try again
	f.refuse = nil
	here.post("/account/sign-out-everywhere", "acting", alice.DID, "password", "remove").leads("/")
	here.get("/account").leads("/sign-in?return_to=%2Faccount")
	if len(f.removed) != 1 || f.removed[0].String() != alice.DID {
		t.Errorf("removed %v, want alice's", f.removed)
	}
	stranger := s.browser(t)
	stranger.post("/account/sign-out-everywhere", "acting", bob.DID, "password", "remove")
	s.member(t, alice).post("/account/sign-out-everywhere", "acting", bob.DID, "password", "remove")
	if len(f.removed) != 1 {
		t.Errorf("somebody else removed %v", f.removed[1:])
	}
}
