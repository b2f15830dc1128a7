package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// TestSignInOnBothServers: a confidential client with private_key_jwt, as it
// runs in production, accepted by the official PDS (S1–S3, S10, S13–S17).
func TestSignInOnBothServers(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	for pds := range inst.network.PDS {
		account := inst.network.NewAccount(t, pds)
		b := inst.browser()
		if status, _, _ := b.me(); status != http.StatusUnauthorized {
			t.Errorf("GET /api/me before signing in: status %d, want 401", status)
		}
		if len(b.cookies) > 0 {
			t.Errorf("a visitor got cookies: %v", b.cookies)
		}
		b.signIn(account)
		if status, did, handle := b.me(); status != http.StatusOK || did != account.DID || handle != account.Handle {
			t.Errorf("GET /api/me: %d %s %s, want 200 %s %s", status, did, handle, account.DID, account.Handle)
		}
		page := b.get("/account").body
		for _, want := range []string{account.DID, account.Handle, inst.network.PDS[pds].URL} {
			if !strings.Contains(page, want) {
				t.Errorf("the account page does not show %s", want)
			}
		}
	}
}

// TestSignInAsADevelopmentClient: without public_url, a loopback client that
// official servers take without metadata (S4).
func TestSignInAsADevelopmentClient(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(account)
	if status, did, _ := b.me(); status != http.StatusOK || did != account.DID {
		t.Errorf("GET /api/me: %d %s, want 200 %s", status, did, account.DID)
	}
}

// TestSignInByDIDAndByServer: the other ways to say who one is (S6, S16).
func TestSignInByDIDAndByServer(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 1)
	for _, identifier := range []string{account.DID, "@" + strings.ToUpper(account.Handle) + "\u200e", inst.network.PDS[1].URL} {
		b := inst.browser()
		redirect, err := inst.network.SignIn(t.Context(), b.begin(identifier, "/"), account)
		if err != nil {
			t.Fatalf("sign-in as %q: %v", identifier, err)
		}
		if a := b.get(redirect); a.status != http.StatusSeeOther || a.location() != "/" {
			t.Errorf("sign-in as %q: callback %d to %q, want 303 to /\n%s", identifier, a.status, a.location(), a.body)
		}
		if _, did, _ := b.me(); did != account.DID {
			t.Errorf("sign-in as %q ended as %q, want %s", identifier, did, account.DID)
		}
	}
}

// TestDeclining lands where the member came from, as nobody, without an error
// status (S18).
func TestDeclining(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	redirect, err := inst.network.Decline(t.Context(), b.begin(account.Handle, "/discover"), account)
	if err != nil {
		t.Fatal(err)
	}
	a := b.get(redirect)
	if a.status >= 400 {
		t.Errorf("declining: status %d, want no error\n%s", a.status, a.body)
	}
	if !strings.Contains(a.location()+a.body, "/discover") {
		t.Errorf("declining does not lead back to /discover: %d %q", a.status, a.location())
	}
	if status, _, _ := b.me(); status != http.StatusUnauthorized || b.deviceCookie() != "" {
		t.Errorf("after declining: /api/me %d, device cookie %q; want nobody", status, b.deviceCookie())
	}
}

// TestCallbackFromAnotherBrowser: a forwarded callback signs nobody in and is
// refused before the code is exchanged (S13).
func TestCallbackFromAnotherBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	attacker, victim := inst.browser(), inst.browser()
	redirect, err := inst.network.SignIn(t.Context(), attacker.begin(account.Handle, "/"), account)
	if err != nil {
		t.Fatal(err)
	}
	if a := victim.get(redirect); a.status < 400 || a.status >= 500 {
		t.Errorf("callback without the binding cookie: status %d, want 4xx", a.status)
	}
	if victim.deviceCookie() != "" {
		t.Error("the other browser got a device cookie")
	}
	if a := attacker.get(redirect); a.status >= 400 {
		t.Logf("the sign-in that was tried elsewhere has ended (%d)", a.status)
	}
}

// TestRepeatedCallback: the second use of a state fails and harms nothing (S14).
func TestRepeatedCallback(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	redirect, err := inst.network.SignIn(t.Context(), b.begin(account.Handle, "/"), account)
	if err != nil {
		t.Fatal(err)
	}
	if a := b.get(redirect); a.status != http.StatusSeeOther {
		t.Fatalf("callback: %d\n%s", a.status, a.body)
	}
	if a := b.get(redirect); a.status < 400 || a.status >= 500 {
		t.Errorf("the same callback again: status %d, want 4xx", a.status)
	}
	if _, did, _ := b.me(); did != account.DID {
		t.Errorf("after the repeated callback signed in as %q, want %s", did, account.DID)
	}
}

// TestTwoAccountsOnOneDevice: both stay, one acts, the member switches (S23).
func TestTwoAccountsOnOneDevice(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	first, second := inst.network.NewAccount(t, 0), inst.network.NewAccount(t, 1)
	b := inst.browser()
	b.signIn(first)
	old := b.deviceCookie()
	b.signIn(second)
	if b.deviceCookie() == old {
		t.Error("the device cookie kept its value over a sign-in (S19)")
	}
	if _, did, _ := b.me(); did != second.DID {
		t.Errorf("after the second sign-in acts %s, want %s", did, second.DID)
	}
	stale := formOf(t, b.get("/discover"), "/posts", nil)
	form := formOf(t, b.get("/account"), "/account/switch", url.Values{"account": {first.DID}})
	if a := b.post("/account/switch", form); a.status != http.StatusSeeOther {
		t.Fatalf("switch: %d\n%s", a.status, a.body)
	}
	if _, did, _ := b.me(); did != first.DID {
		t.Errorf("after switching acts %s, want %s", did, first.DID)
	}
	// A form rendered for the other account does nothing (S25).
	stale.Set("title", "by the wrong person")
	stale.Set("content", "by the wrong person")
	if a := b.post("/posts", stale); a.status != http.StatusConflict || !strings.Contains(a.body, second.Handle) || !strings.Contains(a.body, first.Handle) {
		t.Errorf("a form of the other account: status %d, want 409 and a page that offers both\n%s", a.status, a.body)
	}
}

// TestACopiedCookieIsDead after signing out, also after signing in again (S23).
func TestACopiedCookieIsDead(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(account)
	thief := inst.browser()
	for name, cookie := range b.cookies {
		thief.cookies[name] = cookie
	}
	if status, _, _ := thief.me(); status != http.StatusOK {
		t.Fatalf("a copied cookie does not work even before signing out (%d): the test shows nothing", status)
	}
	signOut(t, b, account)
	if status, _, _ := thief.me(); status != http.StatusUnauthorized {
		t.Errorf("the copied cookie after signing out: status %d, want 401", status)
	}
	b.signIn(account)
	copied := thief
	if status, _, _ := copied.me(); status != http.StatusUnauthorized {
		t.Errorf("the copied cookie after signing in again: status %d, want 401", status)
	}
}

func signOut(t *testing.T, b *browser, account network.Account) {
	t.Helper()
	if err := b.inst.learnSecrets(); err != nil {
		t.Fatal(err)
	}
	form := formOf(t, b.get("/account"), "/oauth/logout", nil)
	if a := b.post("/oauth/logout", form); a.status != http.StatusSeeOther {
		t.Fatalf("sign out %s: %d\n%s", account.Handle, a.status, a.body)
	}
}

// TestCrossSitePostsAreRefused (S25), with and without headers that browsers send.
func TestCrossSitePostsAreRefused(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(account)
	form := formOf(t, b.get("/account"), "/oauth/logout", nil)
	for name, header := range map[string]map[string]string{
		"cross-site":     {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
		"same-site":      {"Origin": "https://other.atoll-tests.net", "Sec-Fetch-Site": "same-site"},
		"old browser":    {"Origin": "https://evil.example"},
		"null origin":    {"Origin": "null"},
		"says nothing":   {},
		"wrong scheme":   {"Origin": "http://" + inst.host},
		"only a referer": {"Referer": inst.origin() + "/account"},
	} {
		header["Content-Type"] = "application/x-www-form-urlencoded"
		if a := b.do(http.MethodPost, "/oauth/logout", strings.NewReader(form.Encode()), header); a.status != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", name, a.status)
		}
	}
	if status, _, _ := b.me(); status != http.StatusOK {
		t.Errorf("a refused request signed the member out (%d)", status)
	}
}
