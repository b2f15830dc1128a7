package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/atoll-social/atoll/internal/keyring"
)

// sessionID finds the only session in the list of an operator.
func (i *instance) sessionID() string {
	i.t.Helper()
	out, code := i.command("sessions", "list", "--state", "live")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 2 {
		i.t.Fatalf("sessions list: code %d\n%s\nwant one live session", code, out)
	}
	return strings.Fields(lines[1])[0]
}

// signInAgain fails the test unless the browser is asked to sign in again.
func (b *browser) signInAgain(why string) {
	b.t.Helper()
	if a := b.get("/api/me"); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "SignInAgain") {
		b.t.Errorf("GET /api/me after %s: %d %s, want 401 and SignInAgain", why, a.status, a.body)
	}
}

// TestOperatorsSeeAndEndSessions beside a running server: at once, with the
// reason, and one sign-in mends it (S46).
func TestOperatorsSeeAndEndSessions(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account, b := inst.network.NewAccount(t, 0), inst.browser()
	b.signIn(account)
	id := inst.sessionID()
	shown, code := inst.command("sessions", "show", id)
	for _, want := range []string{account.DID, account.Handle, "live", inst.network.PDS[0].URL, "sign_in "} {
		if code != 0 || !strings.Contains(shown, want) {
			t.Errorf("sessions show: code %d\n%s\nwant %s in it", code, shown, want)
		}
	}
	before := inst.refreshed()
	if out, code := inst.command("sessions", "refresh", id); code != 0 || !strings.Contains(out, "has new tokens") || inst.refreshed() <= before {
		t.Errorf("sessions refresh: code %d\n%s", code, out)
	}
	if status, did, _ := b.me(); status != http.StatusOK || did != account.DID {
		t.Errorf("GET /api/me after the operator renewed the session: %d %s", status, did)
	}
	if out, code := inst.command("sessions", "refresh", "nothing"); code != 1 || !strings.Contains(out, "there is no session nothing") {
		t.Errorf("sessions refresh of nothing: code %d\n%s", code, out)
	}
	if out, code := inst.command("sessions", "revoke", id); code != 0 {
		t.Fatalf("sessions revoke: code %d\n%s", code, out)
	}
	b.signInAgain("the operator ended the session")
	if out, code := inst.command("sessions", "revoke", id); code != 1 || !strings.Contains(out, "over already") {
		t.Errorf("sessions revoke again: code %d\n%s", code, out)
	}
	if out, code := inst.command("sessions", "refresh", id); code != 1 || !strings.Contains(out, "is over") {
		t.Errorf("sessions refresh of one that is over: code %d\n%s", code, out)
	}
	inst.restart() // a look for what is to be revoked is the first thing that it does
	eventually(t, "the member's server is told", func() bool {
		out, _ := inst.command("sessions", "list", "--state", "revoking")
		return strings.Contains(out, "no sessions")
	})
	b.signInAgain("the server was told")
	if page := b.get("/account").body; !strings.Contains(page, "The operator of this site has ended this sign-in.") {
		t.Error("the account page does not say why the session is over")
	}
	b.signIn(account)
	if status, did, _ := b.me(); status != http.StatusOK || did != account.DID {
		t.Errorf("GET /api/me after signing in again: %d %s", status, did)
	}
	inst.scrapeMetrics()
	if metrics := inst.seen.kept[len(inst.seen.kept)-1].text; !strings.Contains(metrics, `atoll_sessions{`) || !strings.Contains(metrics, `atoll_swept_total{kind="attempts"}`) ||
		!strings.Contains(metrics, `atoll_sessions_kept_total{outcome="renewed"}`) {
		t.Error("no counts of sessions or sweeps in /metrics")
	}
}

// TestWithdrawingAClientKey says first what it would end, then ends it, and
// every process stops publishing the key within ten seconds (S3, S46).
func TestWithdrawingAClientKey(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account, b := inst.network.NewAccount(t, 0), inst.browser()
	b.signIn(account)
	list, _ := inst.command("keys", "list")
	old := regexp.MustCompile(`client key\s+(\S+)\s+signs for new sessions.*1 session\b`).FindStringSubmatch(list)
	if old == nil {
		t.Fatalf("keys list:\n%s\nwant the client key with its session", list)
	}
	if out, code := inst.command("keys", "withdraw", old[1], "--yes"); code != 1 || !strings.Contains(out, "keys rotate") {
		t.Errorf("withdrawing the only key: code %d\n%s", code, out)
	}
	if out, code := inst.command("keys", "rotate", "--now"); code != 0 {
		t.Fatalf("keys rotate: code %d\n%s", code, out)
	}
	if out, code := inst.command("keys", "withdraw", old[1]); code != 1 || !strings.Contains(out, "1 live session") {
		t.Errorf("withdrawing without --yes: code %d\n%s\nwant 1 and the count", code, out)
	}
	if status, _, _ := b.me(); status != http.StatusOK {
		t.Errorf("GET /api/me after the refusal: %d, want 200", status)
	}
	if out, code := inst.command("keys", "withdraw", old[1], "--yes"); code != 0 || !strings.Contains(out, "1 session ended") {
		t.Errorf("withdrawing: code %d\n%s", code, out)
	}
	b.signInAgain("its key was withdrawn")
	eventually(t, "the running server follows", func() bool {
		keys := b.get("/oauth/jwks.json").body
		return strings.Count(keys, `"kid"`) == 1 && !strings.Contains(keys, old[1])
	})
	// The member's own server keeps its copy of the keys for ten minutes; the
	// other one has none yet.
	other := inst.network.NewAccount(t, 1)
	b.signIn(other)
	if status, did, _ := b.me(); status != http.StatusOK || did != other.DID {
		t.Errorf("GET /api/me after signing in with the new key: %d %s", status, did)
	}
}

// TestTheMasterKeyRotates beside a running server, which reads it anew on
// SIGHUP; the old key is then needed by nobody, and nobody is signed out (S42).
func TestTheMasterKeyRotates(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account, b := inst.network.NewAccount(t, 1), inst.browser()
	b.signIn(account)
	path := filepath.Join(inst.dir, "data", "secret.key")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	older := strings.TrimSpace(string(before))
	newer := newKey(t)
	write := func(lines ...string) {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hangup := func(want string) {
		t.Helper()
		count := strings.Count(inst.log.String(), want)
		if err := inst.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, want, func() bool { return strings.Count(inst.log.String(), want) > count })
	}

	write(older, newer)
	if out, code := inst.command("keys", "reseal"); code != 1 || !strings.Contains(out, "put a new key above it") {
		t.Errorf("reseal with the new key below: code %d\n%s\nwant a refusal", code, out)
	}
	write(newer)
	hangup("secret_key not read again") // it opens nothing: the server goes on with what it has
	write(newer, older)
	hangup("secret_key read again")
	if out, code := inst.command("keys", "reseal"); code != 0 || !strings.Contains(out, "sessions: 1 sealed anew") || !strings.Contains(out, "signing keys: 2 sealed anew") {
		t.Errorf("reseal: code %d\n%s", code, out)
	}
	ring, err := keyring.Parse(older)
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := inst.command("keys", "list"); !regexp.MustCompile(ring.CurrentID() + `\s+opens only\s+needed by 0 values`).MatchString(out) {
		t.Errorf("keys list after resealing:\n%s\nwant the old key needed by nothing", out)
	}
	post := func(text string) {
		t.Helper()
		if status, _, _ := b.me(); status != http.StatusOK {
			t.Errorf("GET /api/me %s: %d, want 200", text, status)
		}
	}
	post("on the running server")
	write(newer)
	inst.restart()
	post("without the old key")
	if out, code := inst.command("sessions", "show", inst.sessionID()); code != 0 {
		t.Errorf("sessions show: %d\n%s", code, out)
	}
	fresh := inst.browser()
	fresh.signIn(account)
	if status, did, _ := fresh.me(); status != http.StatusOK || did != account.DID {
		t.Errorf("signing in afterwards: %s", fmt.Sprint(status, did))
	}
}
