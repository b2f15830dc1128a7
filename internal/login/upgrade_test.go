package login_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	conformance "github.com/atoll-social/atoll/oauth/client/storetest"
)

const writePosts = "repo:social.coves.community.postv2"

// plainAttempts keeps what the suite has for a state of its own as the address
// to come back to, because Attempts takes nothing but login's own state.
type plainAttempts struct{ *login.Attempts }

func (p plainAttempts) Put(ctx context.Context, a *client.Attempt) error {
	own, err := json.Marshal(map[string]any{"return_to": string(a.AppState), "binding": []byte("hash"), "origin": ""})
	if err != nil {
		return err
	}
	stored := a.Clone()
	stored.AppState = own
	return p.Attempts.Put(ctx, stored)
}

func (p plainAttempts) Peek(ctx context.Context, state string) (*client.Attempt, error) {
	return unwrapped(p.Attempts.Peek(ctx, state))
}

func (p plainAttempts) Take(ctx context.Context, state string) (*client.Attempt, error) {
	return unwrapped(p.Attempts.Take(ctx, state))
}

func unwrapped(a *client.Attempt, err error) (*client.Attempt, error) {
	if err != nil {
		return nil, err
	}
	var own struct {
		ReturnTo string `json:"return_to"`
	}
	err = json.Unmarshal(a.AppState, &own)
	a.AppState = []byte(own.ReturnTo)
	return a, err
}

// TestConformance holds Attempts against what oauth/client demands of a store,
// as two processes on one database.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		open := func(t *testing.T) client.AttemptStore {
			attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: i.ring})
			if err != nil {
				t.Fatal(err)
			}
			return plainAttempts{attempts}
		}
		conformance.Attempts(t, func(t *testing.T) (one, other client.AttemptStore) { return open(t), open(t) })
	})
}

// upgrade begins to ask for more and returns the server's address to go to.
func (b *browser) upgrade(account session.Account, scope string) string {
	b.i.t.Helper()
	started, err := b.i.Upgrade(b.i.t.Context(), login.Upgrade{
		DID: account.DID, SessionID: account.SessionID, Scope: scope, ReturnTo: "/c/commons?page=2", Addr: b.addr, Cookies: b.sent(),
	})
	if err != nil {
		b.i.t.Fatalf("Upgrade: %v", err)
	}
	b.set(started.Cookies)
	return started.URL
}

// account is the browser's active account.
func (b *browser) account() session.Account {
	b.i.t.Helper()
	d, _, err := b.i.sessions.Device(b.i.t.Context(), b.token())
	b.i.must(err)
	a, _ := d.Current()
	return a
}

// TestUpgrade: S36. The member comes back to where they were with more than they
// had; the old session gave way in the same step, and says why.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		i.pds.scope = "atproto"
		b := i.browser()
		b.signIn("alice.example")
		old := b.account()
		i.pds.scope = ""
		target := b.upgrade(old, writePosts)
		if asked := i.pds.asked(target); asked.Get("scope") != "atproto "+writePosts || asked.Get("login_hint") != "alice.example" {
			t.Errorf("asked for %q of %q", asked.Get("scope"), asked.Get("login_hint"))
		}
		if _, err := i.sessions.Get(t.Context(), old.SessionID); err != nil {
			t.Errorf("the old session while the member decides: %v", err)
		}
		out, err := b.comeBack(i.pds.approve(target))
		if err != nil || out.Result != login.SignedIn || out.ReturnTo != "/c/commons?page=2" || !out.Upgrade {
			t.Fatalf("coming back = %+v, %v", out, err)
		}
		now := b.account()
		if now.DID != alice || now.SessionID == old.SessionID || len(now.Scopes) != 2 || len(b.accounts()) != 1 {
			t.Errorf("the account afterwards is %+v", now)
		}
		info, err := i.sessions.Info(t.Context(), old.SessionID)
		if err != nil || info.State != session.StateRevoking || info.Reason != client.ReasonUpgraded {
			t.Errorf("the old session is %s, %s (%v); want revoking, upgraded", info.State, info.Reason, err)
		}
		if n := i.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 1 {
			t.Errorf("%d live sessions, want one", n)
		}
	})
}

// TestUpgradesThatComeToNothing leave the session and the browser as they were.
func TestUpgradesThatComeToNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, end := range map[string]func(i *instance, b *browser, target string){
			"declined": func(i *instance, b *browser, target string) {
				out, err := b.comeBack(i.pds.decline(target))
				if err != nil || out.Result != login.Declined || !out.Upgrade || out.ReturnTo != "/c/commons?page=2" {
					t.Errorf("declining = %+v, %v", out, err)
				}
			},
			"given up": func(*instance, *browser, string) {},
			"another account": func(i *instance, b *browser, target string) {
				i.pds.subject = bob.String()
				_, err := b.comeBack(i.pds.approve(target))
				wantFault(t, "an upgrade by somebody else", err, fault.Forbidden)
				i.pds.subject = ""
			},
			"trouble": func(i *instance, b *browser, target string) {
				i.pds.fail["/oauth/token"] = "500"
				_, err := b.comeBack(i.pds.approve(target))
				wantFault(t, "an upgrade with trouble", err, fault.Unavailable)
				delete(i.pds.fail, "/oauth/token")
			},
			"another browser": func(i *instance, b *browser, target string) {
				_, err := i.browser().comeBack(i.pds.approve(target))
				wantFault(t, "an upgrade in another browser", err, fault.Forbidden)
			},
		} {
			i := newInstance(t, db)
			b := i.browser()
			b.signIn("alice.example")
			before, token := b.account(), b.token().Reveal()
			end(i, b, b.upgrade(before, writePosts))
			after := b.account()
			if after.SessionID != before.SessionID || !after.Live || b.token().Reveal() != token {
				t.Errorf("%s: the session was %s, is %s, live %v", name, before.SessionID, after.SessionID, after.Live)
			}
			if _, err := i.sessions.Get(t.Context(), after.SessionID); err != nil {
				t.Errorf("%s: the session: %v", name, err)
			}
		}
	})
}

func TestUpgradeRefuses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		b.signIn("alice.example")
		account := b.account()
		for name, c := range map[string]struct {
			id, scope string
			kind      fault.Kind
		}{
			"a scope that nobody declares": {account.SessionID, "repo:app.bsky.feed.post", fault.Invalid},
			"no scope at all":              {account.SessionID, "repo:", fault.Invalid},
			"a session that never was":     {"nothing", writePosts, fault.Unauthenticated},
		} {
			_, err := i.Upgrade(t.Context(), login.Upgrade{DID: alice, SessionID: c.id, Scope: c.scope, Addr: b.addr})
			if f := wantFault(t, name, err, c.kind); c.kind == fault.Invalid && !strings.Contains(f.Public, "no permission") {
				t.Errorf("%s: %q says nothing of the permission", name, f.Public)
			}
		}
		i.must(i.sessions.Revoke(t.Context(), account.SessionID))
		_, err := i.Upgrade(t.Context(), login.Upgrade{DID: alice, SessionID: account.SessionID, Scope: writePosts, Addr: b.addr})
		if f := wantFault(t, "a session that is over", err, fault.Unauthenticated); f.Code != "SignInAgain" {
			t.Errorf("code %q, want SignInAgain", f.Code)
		}
		if n := i.count(`SELECT count(*) FROM login_attempt`); n != 0 {
			t.Errorf("%d attempts stored, want none", n)
		}
	})
}
