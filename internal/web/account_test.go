package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
)

func TestAccountPageShowsWhatIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.member(t, alice) // another device
	b := s.member(t, bob, alice)
	a := b.get("/account").is(200, "Your account", "@alice.one.test", alice.DID, "https://pds.example.com",
		"Write, change and delete posts in your repository", "<code>repo:social.coves.community.postv2</code>",
		"Firefox on Linux", "this device", "Sign out here", "Sign out everywhere", "@bob.two.test", "Add another account")
	if got := strings.Count(a.body, "Firefox on Linux</strong>"); got != 2 {
		t.Errorf("account page lists %d devices, want 2", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("account page: Cache-Control %q, want no-store", got)
	}
	s.browser(t).get("/account").leads("/sign-in?return_to=%2Faccount")
}

// fakeAppSessions stands in for session.Apps.
type fakeAppSessions struct {
	all     []session.AppInfo
	whose   []syntax.DID
	revoked []string
}

func (f *fakeAppSessions) List(_ context.Context, did syntax.DID) ([]session.AppInfo, error) {
	f.whose = append(f.whose, did)
	return f.all, nil
}

func (f *fakeAppSessions) Revoke(_ context.Context, did syntax.DID, id string) error {
	if did.String() != alice.DID || id != "a1" {
		return fmt.Errorf("revoke: %w", session.ErrNoApp)
	}
	f.revoked = append(f.revoked, id)
	return nil
}

// N6: a member sees the apps that they have signed in, and ends one.
func TestAppsOnTheAccountPage(t *testing.T) {
	t.Parallel()
	f := &fakeAppSessions{}
	s := newSite(t, func(cfg *Config) { cfg.AppSessions = f })
	b := s.member(t, alice)
	b.get("/account").is(200).lacks("Apps that you have signed in")
	f.all = []session.AppInfo{{ID: "a1", Name: "Reader <b>", Origin: "198.51.100.0/24", CreatedAt: sampleNow.Add(-3 * time.Hour), UsedAt: sampleNow}}
	b.get("/account").is(200, "Apps that you have signed in", "Reader &lt;b&gt;", "unverified", "3 hours ago", "around 198.51.100.0/24",
		`action="/account/sign-out-app"`, `name="app" value="a1"`)
	if f.whose[0].String() != alice.DID {
		t.Errorf("listed the apps of %s", f.whose[0])
	}
	b.post("/account/sign-out-app", "acting", alice.DID, "app", "a2").is(404, "not signed in any more")
	b.post("/account/sign-out-app", "acting", alice.DID, "app", "a1").leads("/account")
	foreign := b.form("/account/sign-out-app", "acting", alice.DID, "app", "a1")
	foreign.Header.Set("Origin", "https://evil.example")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	b.send(foreign).is(403)
	both := s.member(t, alice, bob) // bob is active
	both.post("/account/sign-out-app", "acting", alice.DID, "app", "a1").is(409, "Sign the app out as @alice.one.test")
	both.post("/account/sign-out-app", "acting", bob.DID, "app", "a1").is(404)
	s.browser(t).post("/account/sign-out-app", "acting", alice.DID, "app", "a1").is(401)
	if len(f.revoked) != 1 {
		t.Errorf("%d apps were signed out, want one", len(f.revoked))
	}
}

// S40: whoever wonders why nothing can be written is told.
func TestAccountPageOfAnInactiveAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	b.get("/account").is(200).lacks("deactivated")
	if err := s.sessions.AccountStatus(t.Context(), syntax.DID(alice.DID), session.Status{Word: "deactivated"}); err != nil {
		t.Fatal(err)
	}
	b.get("/account").is(200, "Your account is deactivated at its server.", "until it is active there again", `role="alert"`)
}

func TestSwitchingAccounts(t *testing.T) {
	t.Parallel()
	b := newSite(t).member(t, alice, bob)
	b.get("/").is(200, `Your account: </span>@bob`)
	b.post("/account/switch", "acting", bob.DID, "account", alice.DID).leads("/account")
	b.get("/").is(200, `Your account: </span>@alice`)
	b.post("/account/switch", "acting", alice.DID, "account", commons.DID).is(404, "not signed in on this device")
	b.post("/account/switch", "acting", alice.DID, "account", "nonsense").is(404)
	b.post("/account/switch", "acting", alice.DID).is(404)
	b.get("/").is(200, `Your account: </span>@alice`)
}

// S23: a copied cookie is dead after signing out, for every account.
func TestSigningOutHere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice, bob)
	thief := s.browser(t)
	for name, value := range b.cookies {
		thief.cookies[name] = value
	}
	thief.get("/account").is(200)
	b.post("/oauth/logout", "acting", bob.DID).leads("/")
	b.get("/").is(200, `Your account: </span>@alice`)
	thief.get("/account").leads("/sign-in?return_to=%2Faccount")
	b.post("/oauth/logout", "acting", alice.DID).leads("/")
	b.get("/").is(200, "Still water")
	if len(b.cookies) != 0 {
		t.Errorf("cookies after the last account has left: %v, want none", b.cookies)
	}
	b.signIn(alice)
	thief.get("/account").leads("/sign-in?return_to=%2Faccount")
	b.get("/account").is(200)
}

// A second click, or a tab from before, finds that it is done.
func TestSigningOutTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/oauth/logout", "/account/sign-out-everywhere"} {
		b := s.member(t, alice)
		stale := s.browser(t)
		for name, value := range b.cookies {
			stale.cookies[name] = value
		}
		b.post(path, "acting", alice.DID).leads("/")
		b.post(path, "acting", alice.DID).leads("/")
		stale.post(path, "acting", alice.DID).leads("/")
		s.browser(t).post(path, "acting", alice.DID).leads("/")
	}
	s.browser(t).post("/account/sign-out-device", "acting", alice.DID, "device", "d7").is(401)
}

func TestSigningOutAnotherDeviceAndEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here, there, third := s.member(t, alice), s.member(t, alice, bob), s.member(t, alice)
	devices := ok(s.sessions.Devices(t.Context(), syntax.DID(alice.DID)))(t)
	own := here.deviceID()
	other := there.deviceID()
	if len(devices) != 3 {
		t.Fatalf("devices of alice: %d, want 3", len(devices))
	}
	here.post("/account/sign-out-device", "acting", alice.DID, "device", own).is(400, "Sign out here")
	here.post("/account/sign-out-device", "acting", alice.DID, "device", "unknown").is(404, "not signed in on that device any more")
	here.post("/account/sign-out-device", "acting", alice.DID, "device", other).leads("/account")
	there.get("/").is(200, `Your account: </span>@bob`)
	there.post("/account/sign-out-device", "acting", bob.DID, "device", own).is(404)
	here.post("/account/sign-out-everywhere", "acting", alice.DID).leads("/")
	here.get("/account").is(303)
	third.get("/account").is(303)
	there.get("/account").is(200, bob.DID).lacks(alice.DID)
}

func (b *browser) deviceID() string {
	b.t.Helper()
	device, _, err := b.site.sessions.Device(b.t.Context(), b.token())
	if err != nil {
		b.t.Fatal(err)
	}
	return device.ID
}

// S25: after a switch in another tab nothing is done by the wrong person.
func TestAFormForAnotherAccountAsksFirst(t *testing.T) {
	t.Parallel()
	b := newSite(t).member(t, alice, bob) // bob is active
	a := b.post("/oauth/logout", "acting", alice.DID).is(409, "Who is doing this?", "This page was opened as @alice.one.test",
		"Sign out as @alice.one.test", "Sign out as @bob.two.test", "Nothing has been done yet")
	if !strings.Contains(a.body, `name="switch" value="yes"`) {
		t.Errorf("the page does not offer to switch:\n%s", a.body)
	}
	b.get("/account").is(200, alice.DID, bob.DID)
	b.post("/oauth/logout", "acting", alice.DID, "switch", "yes").leads("/")
	b.get("/account").is(200, bob.DID).lacks(alice.DID)
}

func TestAFormForNobodyOrForSomebodyWhoLeftAsksFirst(t *testing.T) {
	t.Parallel()
	b := newSite(t).member(t, bob)
	b.post("/oauth/logout").is(409, "did not say for which account", "Sign out as @bob.two.test")
	b.post("/oauth/logout", "acting", "no DID").is(409)
	b.post("/oauth/logout", "acting", alice.DID).is(409, alice.DID+" is no longer signed in on this device")
	b.post("/oauth/logout", "acting", alice.DID, "switch", "yes").is(404)
	b.post("/account/sign-out-device", "acting", alice.DID, "device", "d7").is(409, `name="device" value="d7"`)
	b.get("/account").is(200, bob.DID)
}

// S25: forms of other sites change nothing. Each case fails without the check
// of origins, as the cookie is there and the form is right.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := newSite(t).member(t, alice)
	for _, headers := range []map[string]string{
		{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
		{"Origin": "https://evil.example"},
		{"Origin": "null"},
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "same-site"},
		{},
	} {
		for _, path := range []string{"/oauth/logout", "/account/switch", "/account/sign-out-device", "/account/sign-out-everywhere"} {
			r := b.form(path, "acting", alice.DID, "account", alice.DID)
			r.Header.Del("Origin")
			r.Header.Del("Sec-Fetch-Site")
			for name, value := range headers {
				r.Header.Set(name, value)
			}
			b.send(r).is(http.StatusForbidden, "another site")
		}
	}
	b.get("/account").is(200)
}

func TestFormsThatAreBroken(t *testing.T) {
	t.Parallel()
	b := newSite(t).member(t, alice)
	r := b.form("/oauth/logout", "acting", alice.DID, "x", strings.Repeat("x", smallForm))
	b.send(r).is(http.StatusRequestEntityTooLarge, "Too much at once")
	b.post("/oauth/logout", "acting", alice.DID+"\x00").is(400)
	b.post("/oauth/logout", "acting", "\xff").is(400)
	r = b.form("/oauth/logout", "acting", alice.DID)
	r.Header.Set("Content-Type", "application/json")
	b.send(r).is(400)
	b.get("/account").is(200)
}
