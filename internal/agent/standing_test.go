package agent

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// all lists sessions by their state.
type all []session.Info

func (l all) List(_ context.Context, q session.Query) (some []session.Info, more bool, err error) {
	for _, s := range l {
		live := s.State == session.StateLive || s.State == session.StateUnusable
		if s.State == q.State || live && q.State == session.StateLive {
			some = append(some, s)
		}
	}
	return some, false, nil
}

// TestStanding holds A10: one look-up says how an account stands, which way is
// taken, and how to mend what is wrong.
func TestStanding(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(time.Hour).Round(0)
	const asked = "atproto repo:social.coves.community.postv2 repo:social.coves.feed.vote"
	live := session.Info{ID: "s", State: session.StateLive, Scope: asked, RefreshExpiresAt: ends}
	little, moved, paused, ended, unusable := live, live, live, live, live
	little.Scope = "atproto repo:social.coves.community.postv2"
	moved.PDS = "https://old.example.com"
	paused.State, ended.State, unusable.State = session.StatePaused, session.StateEnded, session.StateUnusable
	tests := []standingCase{
		{"connected", all{ended, live}, "", ByOAuth, false,
			Standing{State: Connected, Way: ByOAuth, SessionID: "s"}, []Way{ByOAuth}},
		{"not everything allowed", all{little}, "", ByOAuth, false,
			Standing{State: WantsScope, Mend: MendByUpgrade, Way: ByOAuth, SessionID: "s", Missing: []string{"repo:social.coves.feed.vote"}}, []Way{ByOAuth}},
		{"not everything allowed, and a password", all{little}, "given", ByOAuth, false,
			Standing{State: Connected, Way: ByOAuth, SessionID: "s", Missing: []string{"repo:social.coves.feed.vote"}}, []Way{ByOAuth, ByAppPassword}},
		{"signed out", all{ended, unusable}, "", ByOAuth, false, Standing{State: WantsSignIn, Mend: MendBySignIn}, nil},
		{"moved", all{moved}, "", ByOAuth, false, Standing{State: WantsSignIn, Mend: MendBySignIn}, nil},
		{"signed out, and a password", all{ended}, "given", ByOAuth, false, Standing{State: Connected, Way: ByAppPassword}, []Way{ByAppPassword}},
		{"signed out, and a refused password", nil, "refused", ByOAuth, false, Standing{State: WantsSignIn, Mend: MendByNewPassword}, nil},
		{"password first", all{live}, "given", ByAppPassword, false,
			Standing{State: Connected, Way: ByAppPassword, SessionID: "s"}, []Way{ByAppPassword, ByOAuth}},
		{"not active", all{paused}, "given", ByOAuth, false, Standing{State: Inactive}, []Way{ByAppPassword}},
		{"hosted", nil, "", ByOAuth, true, Standing{State: Connected, Way: ByHosted}, []Way{ByHosted}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.check(t, asked, ends)
		})
	}
}

// standingCase is an account and how it stands.
type standingCase struct {
	name     string
	sessions all
	password string // given, refused
	writes   Way
	hosted   bool
	want     Standing
	open     []Way
}

// check asks how the account stands where the instance asks for the scopes asked
// and sessions end at ends.
func (c standingCase) check(t *testing.T, asked string, ends time.Time) {
	t.Helper()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	a := b.agent(t, b.Passwords, c.writes, nil)
	a.cfg.Scope = asked
	for i := range c.sessions {
		if c.sessions[i].PDS == "" {
			c.sessions[i].PDS = b.URL
		}
	}
	a.cfg.Sessions = c.sessions
	if c.hosted {
		a.cfg.Hosted = hosted{}
	}
	if c.password != "" {
		if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
			t.Fatal(err)
		}
	}
	if c.password == "refused" {
		b.vault.passwords[string(alice)] = "another"
		b.vault.forget(true, true)
		_, _ = b.renew(t.Context(), alice, keyring.NewSecret(b.tokenOf(t)))
	}
	got, err := a.Standing(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	var open []Way
	for _, w := range got.Ways {
		if w.Open {
			open = append(open, w.Way)
		}
		if w.Why == "" {
			t.Errorf("%s: no reason", w.Way)
		}
	}
	if diff := cmp.Diff(c.open, open); diff != "" {
		t.Errorf("open ways (-want +got):\n%s", diff)
	}
	c.want.DID, c.want.PDS = alice, b.URL
	if c.want.SessionID != "" {
		c.want.ExpiresAt = ends
	}
	got.Ways, got.Scopes = nil, nil
	if diff := cmp.Diff(c.want, got); diff != "" {
		t.Errorf("standing (-want +got):\n%s", diff)
	}
}

func (b *lockbox) tokenOf(t *testing.T) string {
	t.Helper()
	row, _, err := b.read(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	return row.access.Reveal()
}
