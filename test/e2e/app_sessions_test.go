package e2e

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/test/network"
)

// signIn brings an app through the whole way and returns its session.
func (p *program) signIn(b *browser, account network.Account) *authv1.Session {
	p.t.Helper()
	begun := p.begin(account, 0)
	b.typeCode(b.arrive(begun, account), begun, begun.GetUserCode())
	return p.wait(p.t.Context(), begun).session(p.t)
}

// command runs the program in the terminal's home and wants this of it.
func (term *terminal) command(wantCode int, want string, args ...string) string {
	term.t.Helper()
	cmd := term.inst.atoll(term.home, args...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != wantCode || !strings.Contains(string(out), want) {
		term.t.Errorf("atoll %s: code %d (%v), want %d and %q in\n%s", strings.Join(args, " "), code, err, wantCode, want, out)
	}
	return string(out)
}

// TestAppsOfAMember: who has signed apps in sees them in the terminal and on the
// account page, ends one from either, and all of them by signing out everywhere
// (N6, N8).
func TestAppsOfAMember(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account, other := inst.network.NewAccount(t, 0), inst.network.NewAccount(t, 1)
	p, b := inst.program(), inst.browser()
	foreign := p.signIn(inst.browser(), other)
	term := inst.login(account, "--remote")
	b.typeCode(b.arrive(term.begun(), account), term.begun(), term.code)
	term.done(account)
	first, second, third := p.signIn(b, account), p.signIn(b, account), p.signIn(b, account)

	list := term.command(0, "this one", "apps")
	if n := strings.Count(list, "Test reader"); n != 3 || strings.Contains(list, foreign.GetSessionId()) {
		t.Errorf("atoll apps lists %d others, want three of the member's own\n%s", n, list)
	}
	term.command(0, "is signed out", "apps", "revoke", first.GetSessionId())
	p.is(first, http.StatusUnauthorized)
	p.is(second, http.StatusOK)
	term.command(1, "There is no such sign-in", "apps", "revoke", first.GetSessionId())
	term.command(1, "There is no such sign-in", "apps", "revoke", foreign.GetSessionId())
	p.is(foreign, http.StatusOK)

	b.signIn(account)
	page := b.get("/account")
	form := formOf(t, page, "/account/sign-out-app", url.Values{"app": {second.GetSessionId()}})
	if a := b.post("/account/sign-out-app", form); a.status != http.StatusSeeOther {
		t.Errorf("ending an app on the account page: %d\n%s", a.status, a.body)
	}
	p.is(second, http.StatusUnauthorized)
	p.is(third, http.StatusOK)
	if page := b.get("/account").body; strings.Contains(page, second.GetSessionId()) || !strings.Contains(page, third.GetSessionId()) {
		t.Errorf("the account page afterwards:\n%s", page)
	}
	b.post("/account/sign-out-everywhere", formOf(t, b.get("/account"), "/account/sign-out-everywhere", nil))
	p.is(third, http.StatusUnauthorized)
	p.is(foreign, http.StatusOK)
	term.command(1, "atoll login", "whoami")
	term.command(1, "atoll login", "apps")
}

// TestATerminalThatEndsItself by its own session's name is logged out.
func TestATerminalThatEndsItself(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account, b := inst.network.NewAccount(t, 0), inst.browser()
	term := inst.login(account, "--remote")
	b.typeCode(b.arrive(term.begun(), account), term.begun(), term.code)
	term.done(account)
	for _, line := range strings.Split(term.command(0, "this one", "apps", "list"), "\n") {
		if strings.Contains(line, "this one") {
			term.command(0, "is signed out", "apps", "revoke", strings.Fields(line)[0])
		}
	}
	if _, err := os.Stat(filepath.Join(term.home, ".config", "atoll", "session.json")); !os.IsNotExist(err) {
		t.Errorf("the kept sign-in is still there (%v)", err)
	}
	term.command(1, "Nobody is signed in here", "apps")
}

// is checks what a session's token is answered with.
func (p *program) is(s *authv1.Session, want int) {
	p.t.Helper()
	if status, _ := p.me(s.GetAccessToken()); status != want {
		p.t.Errorf("/api/me with the token of %s: %d, want %d", s.GetSessionId(), status, want)
	}
}
