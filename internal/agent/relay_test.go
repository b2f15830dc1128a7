package agent

import (
	"net/http"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

const relayDID = syntax.DID("did:plc:relayaaaaaaaaaaaaaaaaaaa")

// statement invites somebody in alice's name; relayed it mentions her.
func statement(mentioned syntax.DID) Statement {
	said := func(text string, facets ...any) Write {
		return Write{Collection: "app.bsky.feed.post", RKey: "3l2bbbbbbbb2b",
			Record: map[string]any{"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-02T03:04:05.678Z", "facets": append([]any{}, facets...)}}
	}
	return Statement{Own: said("Come to my party"), Relayed: said("@alice invites you to a party", map[string]any{
		"index":    map[string]any{"byteStart": int64(0), "byteEnd": int64(6)},
		"features": []any{map[string]any{"$type": "app.bsky.richtext.facet#mention", "did": mentioned.String()}}})}
}

func (s *server) in(repo syntax.DID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for uri := range s.records {
		if syntax.ATURI(uri).Authority().String() == repo.String() {
			n++
		}
	}
	return n
}

// TestSay holds A3 for statements: by the member where that is possible, by the
// relay account where it is not or where the setting wants it, and once.
func TestSay(t *testing.T) {
	t.Parallel()
	over, down := error(client.ErrNotFound), &client.ServerError{Kind: client.ErrUnreachable}
	tests := []struct {
		name    string
		writes  Way
		oauth   error
		relay   string // its password; empty: there is none
		relayed bool
		kind    Kind
	}{
		{"signed in", ByOAuth, nil, appPassword, false, 0},
		{"signed out", ByOAuth, over, appPassword, true, 0},
		{"signed out, no relay", ByOAuth, over, "", false, NeedsSignIn},
		{"server down", ByOAuth, down, appPassword, false, Unreachable},
		{"relay first", ByRelay, nil, appPassword, true, 0},
		{"relay first, and none", ByRelay, nil, "", false, 0},
		{"relay refused", ByRelay, nil, "wrong", false, Unreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newLockbox(t, storetest.New(t, store.SQLite))
			b.vault.passwords = map[string]string{string(relayDID): appPassword}
			a := b.agent(t, nil, tt.writes, tt.oauth)
			if tt.relay != "" {
				a.cfg.Relay = &RelayAccount{DID: relayDID, Password: keyring.NewSecret(tt.relay)}
			}
			for range 2 {
				said, err := a.Say(t.Context(), actor, statement(alice))
				if kindOf(err) != tt.kind || (err == nil) != (tt.kind == 0) || said.Relayed != tt.relayed {
					t.Errorf("say: %+v, %v; want relayed %v, %v", said, err, tt.relayed, tt.kind)
				}
			}
			own, relayed := 0, 0
			switch {
			case tt.relayed:
				relayed = 1
			case tt.kind == 0:
				own = 1
			}
			if b.in(alice) != own || b.in(relayDID) != relayed {
				t.Errorf("%d of alice and %d of the relay, want %d and %d", b.in(alice), b.in(relayDID), own, relayed)
			}
		})
	}
}

// TestSayOnceOverWays holds that a statement is not made again when another way
// has become the first, or an answer was lost in between.
func TestSayOnceOverWays(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	b.vault.passwords = map[string]string{string(relayDID): appPassword}
	relay := &RelayAccount{DID: relayDID, Password: keyring.NewSecret(appPassword)}
	with := func(oauth error) *Agent {
		a := b.agent(t, nil, ByOAuth, oauth)
		a.cfg.Relay = relay
		return a
	}
	b.spoilOnly(1, func(w http.ResponseWriter) bool { cut(w); return true })
	if said, err := with(client.ErrNotFound).Say(t.Context(), actor, statement(alice)); err != nil || !said.Relayed {
		t.Errorf("signed out, answer lost: %+v, %v", said, err)
	}
	if said, err := with(nil).Say(t.Context(), actor, statement(alice)); err != nil || !said.Relayed {
		t.Errorf("signed in since: %+v, %v; want what is there", said, err)
	}
	if b.in(alice) != 0 || b.in(relayDID) != 1 {
		t.Errorf("%d of alice and %d of the relay, want one of the relay", b.in(alice), b.in(relayDID))
	}
}

// TestRelayNamesTheMember holds that the relay says nothing that does not name
// whom it speaks for.
func TestRelayNamesTheMember(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	a := b.agent(t, nil, ByRelay, nil)
	a.cfg.Relay = &RelayAccount{DID: relayDID, Password: keyring.NewSecret(appPassword)}
	for _, mentioned := range []syntax.DID{"", "did:plc:bob"} {
		if said, err := a.Say(t.Context(), actor, statement(mentioned)); err == nil || fault.KindOf(err) != fault.Internal || b.writes != 0 {
			t.Errorf("mentions %q: %+v, %v", mentioned, said, err)
		}
	}
}

// TestRelaySession holds that the relay's session is renewed, and begun anew.
func TestRelaySession(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	b.vault.passwords, b.vault.subject = map[string]string{string(relayDID): appPassword}, string(relayDID)
	b.vault.life = 2 * time.Hour
	a := b.agent(t, nil, ByRelay, nil)
	a.cfg.Relay = &RelayAccount{DID: relayDID, Password: keyring.NewSecret(appPassword)}
	for i, gone := range []struct{ access, refresh bool }{{false, false}, {true, false}, {true, true}} {
		if gone.access {
			b.vault.forget(gone.access, gone.refresh)
		}
		s := statement(alice)
		s.Relayed.RKey = syntax.RecordKey("key" + string(rune('a'+i)))
		if said, err := a.Say(t.Context(), actor, s); err != nil || !said.Relayed {
			t.Errorf("round %d: %+v, %v", i, said, err)
		}
	}
	if created, refreshed, _ := b.vault.counts(); created != 2 || refreshed != 1 {
		t.Errorf("%d begun and %d renewed, want 2 and 1", created, refreshed)
	}
}

// TestRelayMoves holds that the relay's tokens of one server are not shown to
// the next.
func TestRelayMoves(t *testing.T) {
	t.Parallel()
	relay := &RelayAccount{DID: relayDID, Password: keyring.NewSecret(appPassword)}
	var seen []string
	for range 2 {
		b := newLockbox(t, storetest.New(t, store.SQLite))
		b.vault.passwords, b.vault.subject = map[string]string{string(relayDID): appPassword}, string(relayDID)
		a := b.agent(t, nil, ByRelay, nil)
		a.cfg.Relay = relay
		if said, err := a.Say(t.Context(), actor, statement(alice)); err != nil || !said.Relayed {
			t.Errorf("at %s: %+v, %v", b.URL, said, err)
		}
		if created, refreshed, _ := b.vault.counts(); created != 1 || refreshed != 0 {
			t.Errorf("at %s: %d sessions begun and %d renewed, want one of its own", b.URL, created, refreshed)
		}
		seen = append(seen, relay.origin)
	}
	if seen[0] == seen[1] {
		t.Errorf("sessions at %v, want one at each server", seen)
	}
}
