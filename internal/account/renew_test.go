package account

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

const (
	refreshSession = "com.atproto.server.refreshSession"
	createSession  = "com.atproto.server.createSession"
)

// expire lets the access token be over, for us and for the PDS.
func (w *world) expire(did syntax.DID) {
	w.t.Helper()
	w.change(w.row(did.String()).id, func(r *row) {
		r.accessExpires = w.now().Add(-time.Minute)
		r.secrets[accessToken] = keyring.NewSecret("over")
	})
}

// renewals counts renewals by outcome.
func (w *world) renewals(outcome string) float64 {
	w.t.Helper()
	families, err := w.cfg.Metrics.(prometheus.Gatherer).Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "atoll_hosted_renewals_total" && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestOneRefresh holds H2: 50 updates at once with an expired token, through two
// processes, are one refresh, and all of them succeed.
func TestOneRefresh(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		n := network.Shared(t)
		worlds := []*world{newWorld(t, n, storetest.Open(t, cfg)), newWorld(t, n, storetest.Open(t, cfg))}
		h := worlds[0].provision(request())
		worlds[0].expire(h.DID)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := worlds[i%2].update(t.Context(), h.DID, fmt.Sprintf("update-%d", i)); err != nil {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if n := worlds[0].wire.count(refreshSession) + worlds[1].wire.count(refreshSession); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
		if n := worlds[0].wire.count(createSession) + worlds[1].wire.count(createSession); n != 0 {
			t.Errorf("%d sign-ins by password, want none", n)
		}
		if n := worlds[0].renewals(renewedByToken) + worlds[1].renewals(renewedByToken); n != 1 {
			t.Errorf("%v refreshes counted, want 1", n)
		}
	})
}

// TestRefusedToken holds that a token which the PDS calls expired before its time
// is renewed once, and the request made again with its body.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		w.change(w.row(h.DID.String()).id, func(r *row) { r.secrets[accessToken] = keyring.NewSecret("e30.e30.e30") })
		if err := w.update(t.Context(), h.DID, "again"); err != nil {
			t.Errorf("update: %v", err)
		}
		if n := w.wire.count(refreshSession); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// TestRefusedWhileMade holds that a token which is refused in the middle of making
// or mending an account is renewed by whoever is at it, too.
func TestRefusedWhileMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	puts := 0
	w.wire.set(func(method string, req *http.Request) (*http.Response, error) {
		if method == "com.atproto.repo.putRecord" {
			if puts++; puts == 1 {
				return answer(req, 400, `{"error":"ExpiredToken"}`), nil
			}
		}
		return nil, nil //nolint:nilnil // goes through
	})
	h := w.provision(request())
	if n := w.wire.count(refreshSession); puts != 2 || n != 1 || w.row(h.DID.String()).version != 2 {
		t.Errorf("%d writes of the profile, %d refreshes, version %d; want 2, 1, 2", puts, n, w.row(h.DID.String()).version)
	}
}

// TestRenewedBeforeItsEnd holds the five minutes, and that the old token is used
// for as long as it lasts when the PDS does not renew it just then.
func TestRenewedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		left := func(d time.Duration) {
			w.change(w.row(h.DID.String()).id, func(r *row) { r.accessExpires = w.now().Add(d) })
		}
		left(renewBefore + time.Minute)
		if err := w.update(t.Context(), h.DID, "early"); err != nil || w.wire.count(refreshSession) != 0 {
			t.Errorf("before the last five minutes: %v, %d refreshes", err, w.wire.count(refreshSession))
		}
		left(renewBefore - time.Second)
		w.wire.set(on(refreshSession, 503, ""))
		if err := w.update(t.Context(), h.DID, "late"); err != nil || w.wire.count(refreshSession) != 1 {
			t.Errorf("refresh impossible, token good: %v, %d refreshes", err, w.wire.count(refreshSession))
		}
		w.wire.set(nil)
		if err := w.update(t.Context(), h.DID, "later"); err != nil || w.wire.count(refreshSession) != 2 {
			t.Errorf("in the last five minutes: %v, %d refreshes", err, w.wire.count(refreshSession))
		}
	})
}

// TestRefreshTokenGone holds the way by password, and that both tokens and their
// version are saved together.
func TestRefreshTokenGone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		before := w.row(h.DID.String())
		w.change(before.id, func(r *row) {
			r.accessExpires = w.now()
			r.secrets[refreshToken] = keyring.NewSecret("gone")
		})
		if err := w.update(t.Context(), h.DID, "by-password"); err != nil {
			t.Errorf("update: %v", err)
		}
		after := w.row(h.DID.String())
		// Access tokens of the same second are the same text.
		if after.version != before.version+1 || after.secrets[accessToken].IsZero() ||
			after.secrets[refreshToken].Equal(before.secrets[refreshToken]) || after.accessExpires.Sub(w.now()) < time.Hour {
			t.Errorf("version %d after %d, expires %v", after.version, before.version, after.accessExpires)
		}
		if n := w.renewals(renewedByPassword); n != 1 {
			t.Errorf("%v sign-ins by password counted, want 1", n)
		}
	})
}

// setPassword is what somebody with the administrator's password could do.
func (w *world) setPassword(did syntax.DID, password string) {
	w.t.Helper()
	if err := w.admin.SetPassword(w.t.Context(), did, keyring.NewSecret(password)); err != nil {
		w.t.Fatal(err)
	}
}

// TestPasswordWrong holds that an account whose credentials are refused is left
// alone, shown with its repair, and that the repair mends it.
func TestPasswordWrong(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		w.setPassword(h.DID, "of somebody else")
		w.expire(h.DID)
		for range 3 {
			err := w.update(t.Context(), h.DID, "refused")
			if f := fault.From(err); reason(err) != NeedsRepair || f.Kind != fault.Unavailable {
				t.Fatalf("update: %v", err)
			}
		}
		if n := w.wire.count(createSession); n != 1 {
			t.Errorf("the wrong password was sent %d times, want once", n)
		}
		info, err := w.Get(t.Context(), h.Handle.String())
		if err != nil || !info.NeedsRepair || !strings.Contains(info.Problem, "status 401 AuthenticationRequired: Invalid identifier or password") {
			t.Errorf("shown as %+v, %v; want the whole answer of the PDS", info, err)
		}
		if err := w.Trouble(t.Context()); err == nil {
			t.Error("nobody is told")
		}
		if err := w.Check(t.Context(), info.ID); err != nil || !w.row(info.ID).needsRepair {
			t.Errorf("a check forgets it: %v", err)
		}
		how, err := w.Repair(t.Context(), h.DID)
		if err != nil || !strings.Contains(how, "new password") {
			t.Fatalf("Repair: %q, %v", how, err)
		}
		if err := w.update(t.Context(), h.DID, "repaired"); err != nil {
			t.Errorf("update after the repair: %v", err)
		}
		w.expire(h.DID)
		w.change(info.ID, func(r *row) { r.secrets[refreshToken] = keyring.Secret{} })
		if err := w.update(t.Context(), h.DID, "by-new-password"); err != nil {
			t.Errorf("the new password does not work: %v", err)
		}
		if how, err := w.Repair(t.Context(), h.DID); err != nil || !strings.Contains(how, "credentials work") {
			t.Errorf("repair of a good account: %q, %v", how, err)
		}
	})
}

// trail are the audit rows about an account, oldest first.
func (w *world) trail(did syntax.DID) []string {
	w.t.Helper()
	m, err := session.New(session.Config{DB: w.cfg.DB, Ring: w.ring, Logger: slog.New(slog.DiscardHandler), Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	entries, err := m.Trail(w.t.Context(), did, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range slices.Backward(entries) {
		out = append(out, strings.TrimSpace(string(e.Kind)+" "+e.Detail))
	}
	return out
}

// TestRenewalsAreAudited holds S44 for hosted accounts: what becomes of their
// credentials leaves a row, with what it changed and not without.
func TestRenewalsAreAudited(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		step := func(what string) {
			t.Helper()
			w.later(time.Second)
			w.expire(h.DID)
			_ = w.update(t.Context(), h.DID, what) // the row says what came of it
		}
		step("by-token")
		w.wire.set(on(refreshSession, 503, ""))
		step("unreachable")
		w.wire.set(on(refreshSession, 400, `{"error":"ExpiredToken"}`))
		step("by-password")
		w.wire.set(nil)
		w.setPassword(h.DID, "of somebody else")
		step("refused")
		w.later(time.Second)
		if _, err := w.Repair(t.Context(), h.DID); err != nil {
			t.Fatal(err)
		}
		w.later(time.Second)
		if _, _, err := w.ExportRecovery(t.Context(), h.DID.String()); err != nil {
			t.Fatal(err)
		}
		want := []string{"hosted_renewed refreshed", "hosted_renewed password", "hosted_refused refused", "hosted_refused refused",
			"hosted_repaired", "hosted_recovery_exported"}
		if diff := cmp.Diff(want, w.trail(h.DID)); diff != "" {
			t.Errorf("audit trail (-want +got):\n%s", diff)
		}
		old := &held{row: w.row(h.DID.String()), m: w.Manager, owner: "somebody who lost it"}
		if err := old.save(t.Context(), session.Entry{Kind: KindRenewed}); !errors.Is(err, errLost) || len(w.trail(h.DID)) != len(want) {
			t.Errorf("a lost lease left a row: %v, %q", err, w.trail(h.DID))
		}
	})
}

// TestTroubleKeepsCredentials holds that a PDS which is down, limits or says
// nonsense costs no credential, and that each is told apart.
func TestTroubleKeepsCredentials(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		spoil func(string, *http.Request) (*http.Response, error)
		want  Reason
		kind  fault.Kind
	}{
		{"down", func(string, *http.Request) (*http.Response, error) { return nil, errDial }, Unreachable, fault.Unavailable},
		{"too many", on(refreshSession, 429, `{"error":"RateLimitExceeded"}`), Limited, fault.Limited},
		{"too many passwords", func(method string, req *http.Request) (*http.Response, error) {
			switch method {
			case refreshSession:
				return answer(req, 400, `{"error":"ExpiredToken"}`), nil
			case createSession:
				return answer(req, 429, `{"error":"RateLimitExceeded"}`, "Retry-After", "60"), nil
			}
			return nil, nil //nolint:nilnil // goes through
		}, Limited, fault.Limited},
		{"broken", on(refreshSession, 502, "<html>"), Unreachable, fault.Unavailable},
		{"nonsense", on(refreshSession, 200, `{"did":"did:plc:x"}`), Unreachable, fault.Unavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
			h := w.provision(request())
			w.expire(h.DID)
			before := w.row(h.DID.String())
			w.wire.set(c.spoil)
			err := w.update(t.Context(), h.DID, "down")
			if reason(err) != c.want || fault.KindOf(err) != c.kind {
				t.Errorf("update: %s, %s: %v; want %s", reason(err), fault.KindOf(err), err, c.want)
			}
			after := w.row(h.DID.String())
			if after.version != before.version || after.needsRepair || !after.secrets[refreshToken].Equal(before.secrets[refreshToken]) {
				t.Errorf("credentials changed: version %d after %d, needs repair %t", after.version, before.version, after.needsRepair)
			}
			w.wire.set(nil)
			if err := w.update(t.Context(), h.DID, "up"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestAnswerForAnother holds that a session of another account is not taken.
func TestAnswerForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	h := w.provision(request())
	w.expire(h.DID)
	before := w.row(h.DID.String())
	w.wire.set(func(method string, req *http.Request) (*http.Response, error) {
		if method == refreshSession || method == createSession {
			return answer(req, 200, `{"did":"`+alice.String()+`","accessJwt":"a","refreshJwt":"b"}`), nil
		}
		return nil, nil //nolint:nilnil // goes through
	})
	if err := w.update(t.Context(), h.DID, "x"); reason(err) != Unreachable {
		t.Errorf("update: %v", err)
	}
	if after := w.row(h.DID.String()); after.version != before.version {
		t.Error("the tokens of another account were saved")
	}
}

// TestCredentialsStayHome holds that the account's token goes to its own PDS and
// to nobody else, and that others' accounts have no Doer.
func TestCredentialsStayHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	h := w.provision(request())
	d, _, err := w.Doer(t.Context(), h.DID)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{w.net.PDS[1].URL, "http://" + strings.TrimPrefix(w.net.PDS[0].URL, "https://")} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/xrpc/com.atproto.server.getSession", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := d.Do(req); reason(err) != Settings {
			t.Errorf("request to %s: %v, %v", origin, res, err)
		}
	}
	if n := w.wire.count("com.atproto.server.getSession"); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if _, hosted, err := w.Doer(t.Context(), alice); hosted || err != nil {
		t.Errorf("Doer for somebody else: %t, %v", hosted, err)
	}
	if yes, err := w.Hosts(t.Context(), alice); yes || err != nil {
		t.Errorf("Hosts somebody else: %t, %v", yes, err)
	}
}

// TestNoCredentialInAnyOutput holds S24 for hosted accounts: through trouble,
// repair and listing, no secret is in a log line, an error or what is shown.
func TestNoCredentialInAnyOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	h := w.provision(request())
	secrets := map[string]bool{base64.StdEncoding.EncodeToString([]byte("admin:" + w.net.AdminPassword)): true}
	note := func() {
		for _, s := range w.row(h.DID.String()).secrets {
			secrets[s.Reveal()] = true
		}
	}
	var out bytes.Buffer
	note()
	for n, spoil := range []func(string, *http.Request) (*http.Response, error){nil,
		on(refreshSession, 401, `{"error":"InvalidToken"}`), on(refreshSession, 500, ""), nil} {
		w.wire.set(spoil)
		w.change(w.row(h.DID.String()).id, func(r *row) { r.accessExpires = time.Time{} })
		fmt.Fprintln(&out, w.update(t.Context(), h.DID, fmt.Sprint("n", n)))
		note()
	}
	w.setPassword(h.DID, "of somebody else")
	w.expire(h.DID)
	fmt.Fprintln(&out, w.update(t.Context(), h.DID, "refused"))
	how, err := w.Repair(t.Context(), h.DID)
	fmt.Fprintln(&out, how, err)
	note()
	list, err := w.List(t.Context(), true)
	text, _ := json.Marshal(list)
	fmt.Fprintf(&out, "%s %v %+v %v", text, list, w.row(h.DID.String()), err)
	all := out.String() + w.log.String()
	delete(secrets, "")
	delete(secrets, "over")
	if len(secrets) < 6 {
		t.Fatalf("only %d secrets were noted", len(secrets))
	}
	for secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("the secret %.6s… is shown", secret)
		}
	}
}
