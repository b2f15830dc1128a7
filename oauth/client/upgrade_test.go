package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
)

const moreScope = "repo:social.coves.feed.vote"

func upgradable(cfg *client.Config) { cfg.Scope = postScope + " " + moreScope }

// signInFor signs Alice in with a scope.
func (f *fixture) signInFor(t testing.TB, scope string) *client.SessionData {
	t.Helper()
	started, err := f.Start(context.Background(), client.StartParams{Account: "alice.test", Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	back, err := f.net.Approve(started.URL)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := f.Callback(context.Background(), back, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestUpgrade: S36. The old session works until the new one is stored.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := newFixture(t, upgradable)
	old := f.signInFor(t, postScope)
	started, err := f.Upgrade(t.Context(), old.ID, moreScope, client.StartParams{AppState: []byte("/vote")})
	if err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), f.Client, old.ID); err != nil {
		t.Errorf("the old session while the member decides: %v", err)
	}
	back, err := f.net.Approve(started.URL)
	if err != nil {
		t.Fatal(err)
	}
	inCreate := false
	next, attempt, err := f.Callback(t.Context(), back, func(ctx context.Context, d *client.SessionData, a *client.Attempt) error {
		inCreate = call(ctx, f.Client, old.ID) == nil && a.Replaces == old.ID
		return f.sessions.Save(ctx, d)
	})
	if err != nil || !inCreate || string(attempt.AppState) != "/vote" {
		t.Fatalf("Callback = %v; the old session worked in create: %v", err, inCreate)
	}
	if next.Scope != postScope+" "+moreScope || next.DID != hostile.Alice || next.ID == old.ID {
		t.Errorf("the new session has scope %q, want the old one and more", next.Scope)
	}
	if why, _ := f.sessions.Ended(old.ID); why != client.ReasonUpgraded || f.sessions.Len() != 1 || len(f.net.Revoked()) != 2 {
		t.Errorf("the old session ended as %q with %d tokens revoked, want upgraded and both", why, len(f.net.Revoked()))
	}
	if err := call(t.Context(), f.Client, next.ID); err != nil {
		t.Errorf("the new session: %v", err)
	}
}

// TestUpgradesThatFail leave the old session as it was.
func TestUpgradesThatFail(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(f *fixture, url string) error{
		"declined": func(f *fixture, url string) error {
			q, err := f.net.Deny(url)
			if err != nil {
				return err
			}
			if _, _, err = f.Callback(context.Background(), q, nil); !errors.Is(err, client.ErrDenied) {
				return err
			}
			return nil
		},
		"given up": func(*fixture, string) error { return nil },
		"not stored": func(f *fixture, url string) error {
			q, err := f.net.Approve(url)
			if err != nil {
				return err
			}
			if _, _, err = f.Callback(context.Background(), q, func(context.Context, *client.SessionData, *client.Attempt) error {
				return errors.New("disk full")
			}); err == nil {
				return errors.New("Callback succeeded")
			}
			return nil
		},
		"somebody else": func(f *fixture, url string) error {
			f.net.Subject = hostile.Bob
			q, err := f.net.Approve(url)
			if err != nil {
				return err
			}
			if _, _, err = f.Callback(context.Background(), q, nil); !errors.Is(err, client.ErrWrongSubject) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, upgradable)
			old := f.signInFor(t, postScope)
			started, err := f.Upgrade(t.Context(), old.ID, moreScope, client.StartParams{})
			if err != nil {
				t.Fatal(err)
			}
			if err := end(f, started.URL); err != nil {
				t.Fatal(err)
			}
			if err := call(t.Context(), f.Client, old.ID); err != nil || f.sessions.Len() != 1 {
				t.Errorf("the old session afterwards: %v", err)
			}
		})
	}
}

// TestUpgradeAsksInDeclaredSpelling: servers compare scopes with the declared ones
// as text, and name what is missing in words of their own.
func TestUpgradeAsksInDeclaredSpelling(t *testing.T) {
	t.Parallel()
	const declared = "atproto repo:a.b.c?action=create repo:a.b.d repo:a.b.e blob:image/*"
	for _, c := range []struct{ had, more, want string }{
		{"atproto", "repo:a.b.d?action=delete", "atproto repo:a.b.d"},
		{"atproto repo:a.b.c?action=create", "repo?collection=a.b.d&collection=a.b.e&action=create", "atproto repo:a.b.c?action=create repo:a.b.d repo:a.b.e"},
		{"atproto", "blob:image/png", "atproto blob:image/*"},
		// granted by an older release, in a spelling that is not declared any more
		{"atproto repo:a.b.d?action=create", "repo:a.b.e", "atproto repo:a.b.d repo:a.b.e"},
		{"atproto repo:x.y.z", "repo:a.b.e", "atproto repo:a.b.e"},
		{"repo:a.b.d atproto", "", "atproto repo:a.b.d"},
	} {
		f := newFixture(t, func(cfg *client.Config) { cfg.Scope = declared })
		old := f.signInFor(t, "atproto")
		old.Scope = c.had
		if err := f.sessions.Save(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		started, err := f.Upgrade(t.Context(), old.ID, c.more, client.StartParams{})
		if err != nil {
			t.Errorf("had %q, more %q: %v", c.had, c.more, err)
			continue
		}
		if a, err := f.Peek(t.Context(), started.State); err != nil || a.Scope != c.want {
			t.Errorf("had %q, more %q: asks for %q (%v), want %q", c.had, c.more, a.Scope, err, c.want)
		}
	}
}

func TestUpgradeRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, upgradable)
	id := f.signInFor(t, postScope).ID
	for name, c := range map[string]struct {
		id, more string
		params   client.StartParams
		want     error
	}{
		"undeclared scope": {id, "repo:a.b.c", client.StartParams{}, client.ErrBadRequest},
		"half declared":    {id, moreScope + " repo:a.b.c", client.StartParams{}, client.ErrBadRequest},
		"no scope at all":  {id, "repo:", client.StartParams{}, client.ErrBadRequest},
		"somebody else":    {id, moreScope, client.StartParams{Account: "bob.test"}, client.ErrBadRequest},
		"no session":       {"nobody", moreScope, client.StartParams{}, client.ErrNotFound},
	} {
		if _, err := f.Upgrade(t.Context(), c.id, c.more, c.params); !errors.Is(err, c.want) {
			t.Errorf("%s: Upgrade = %v, want %v", name, err, c.want)
		}
	}
}
