package aggregator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const (
	bot     = syntax.DID("did:plc:botaaaaaaaaaaaaaaaaaaaaa")
	mallory = syntax.DID("did:plc:malloryaaaaaaaaaaaaaaaaa")
	commons = syntax.DID("did:plc:commonsaaaaaaaaaaaaaaaaa")
	gardens = syntax.DID("did:plc:gardensaaaaaaaaaaaaaaaaa")
	meadows = syntax.DID("did:plc:meadowsaaaaaaaaaaaaaaaaa")
)

// domains are what web servers answer, and errors where they do not.
type domains map[string]any

func (d domains) WellKnownDID(_ context.Context, domain syntax.Handle) (syntax.DID, error) {
	switch answer := d[domain.String()].(type) {
	case syntax.DID:
		return answer, nil
	case error:
		return "", &identity.Error{Subject: domain.String(), Reason: answer}
	}
	return "", &identity.Error{Subject: domain.String(), Reason: identity.ErrHandleNotFound}
}

func (d domains) LookupDID(_ context.Context, did syntax.DID) (*sdk.Identity, error) {
	return &sdk.Identity{DID: did, Handle: "bot.example.com"}, nil
}

// trail keeps audit rows.
type trail struct {
	mu   sync.Mutex
	rows []session.Entry
}

func (l *trail) Record(_ context.Context, e session.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, e)
	return nil
}

type fixture struct {
	*Service
	db    *store.DB
	index *index.Index
	trail *trail
	at    time.Time
}

func newFixture(t *testing.T, db *store.DB) *fixture {
	t.Helper()
	f := &fixture{db: db, trail: &trail{}, at: time.Now()}
	var err error
	if f.index, err = index.New(index.Config{DB: db}); err != nil {
		t.Fatal(err)
	}
	f.Service, err = New(Config{DB: db, Index: f.index, Trail: f.trail, Logger: slog.New(slog.DiscardHandler), PostsPerHour: 3,
		Now: func() time.Time { return f.at },
		Directory: domains{"bot.example.com": bot, "mallory.example.com": mallory,
			"down.example.com": identity.ErrUnavailable, "private.example.com": identity.ErrBlocked}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRegister holds A11: an account is registered when the domain that it names
// answers with its DID, and only then.
func TestRegister(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		tests := []struct {
			domain string
			code   string
			kind   fault.Kind
		}{
			{"mallory.example.com", "DomainVerificationFailed", fault.Invalid},
			{"nothing.example.com", "DomainVerificationFailed", fault.Invalid},
			{"private.example.com", "DomainVerificationFailed", fault.Invalid},
			{"down.example.com", "", fault.Unavailable},
			{"", "InvalidRequest", fault.Invalid},
			{"https://bot.example.com", "InvalidRequest", fault.Invalid},
			{"bot.example.com/path", "InvalidRequest", fault.Invalid},
			{"bot.example.com:8443", "InvalidRequest", fault.Invalid},
			{"user@bot.example.com", "InvalidRequest", fault.Invalid},
			{"127.0.0.1", "InvalidRequest", fault.Invalid},
			{"[::1]", "InvalidRequest", fault.Invalid},
			{"localhost", "InvalidRequest", fault.Invalid},
			{strings.Repeat("a.", 200) + "com", "InvalidRequest", fault.Invalid},
		}
		for _, tt := range tests {
			out, err := f.Register(t.Context(), bot, tt.domain)
			if err == nil || fault.KindOf(err) != tt.kind || fault.From(err).Code != tt.code {
				t.Errorf("%.40q: %+v, %v; want %v %s", tt.domain, out, err, tt.kind, tt.code)
			}
			if _, ok, err := f.Registration(t.Context(), bot); ok || err != nil {
				t.Fatalf("%.40q: registered (%v)", tt.domain, err)
			}
		}
		if _, err := f.CreateKey(t.Context(), bot); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("a key for nobody: %v", err)
		}
		for _, domain := range []string{" BOT.example.com. ", "bot.example.com"} {
			out, err := f.Register(t.Context(), bot, domain)
			if err != nil || out != (Registered{bot, "bot.example.com", "bot.example.com"}) {
				t.Errorf("%q: %+v, %v", domain, out, err)
			}
		}
		if domain, ok, err := f.Registration(t.Context(), bot); domain != "bot.example.com" || !ok || err != nil {
			t.Errorf("registration %q, %v, %v", domain, ok, err)
		}
	})
}

func (f *fixture) key(t *testing.T) Key {
	t.Helper()
	if _, err := f.Register(t.Context(), bot, "bot.example.com"); err != nil {
		t.Fatal(err)
	}
	key, err := f.CreateKey(t.Context(), bot)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKeys holds A11: a key is stored as its hash, shown once, known by its
// prefix, replaced and revoked at once.
func TestKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		if _, ok, err := f.Key(t.Context(), bot); ok || err != nil {
			t.Errorf("a key before there is one (%v)", err)
		}
		if _, err := f.RevokeKey(t.Context(), bot); fault.KindOf(err) != fault.NotFound {
			t.Errorf("revoking none: %v", err)
		}
		key := f.key(t)
		text := key.Text.Reveal()
		if !strings.HasPrefix(text, "ckapi_") || len(text) != 70 || !strings.HasPrefix(text, key.Prefix) || len(key.Prefix) != 12 || !IsKey(text) {
			t.Errorf("key %q with prefix %q", text, key.Prefix)
		}
		if shown := fmt.Sprintf("%+v %v", key, f.trail.rows); strings.Contains(shown, text) {
			t.Error("a key is shown where it is printed or recorded")
		}
		var stored []byte
		if err := db.Read().QueryRowContext(t.Context(), `SELECT key_hash FROM aggregator_key`).Scan(&stored); err != nil || len(stored) != 32 || bytes.Contains(stored, []byte(text)) {
			t.Errorf("stored %x, %v", stored, err)
		}
		good := func(text string) bool {
			t.Helper()
			did, err := f.Authenticate(t.Context(), text)
			if err != nil && (fault.KindOf(err) != fault.Unauthenticated || fault.From(err).Code != "AuthRequired") {
				t.Errorf("authenticate: %v", err)
			}
			return did == bot && err == nil
		}
		if !good(text) {
			t.Error("a good key is refused")
		}
		info, ok, err := f.Key(t.Context(), bot)
		if err != nil || !ok || info.Prefix != key.Prefix || info.UsedAt.IsZero() || !info.RevokedAt.IsZero() {
			t.Errorf("info %+v, %v, %v", info, ok, err)
		}
		for _, bad := range []string{"", "ckapi_", key.Prefix, text + "0", text[:69], strings.ToUpper(text), "xkapi_" + text[6:], "ckapi_" + strings.Repeat("0", 64),
			" " + text, text + "\x00", "ckapi_" + strings.Repeat("%", 64)} {
			if good(bad) {
				t.Errorf("%q is accepted", bad)
			}
		}
		f.at = f.at.Add(time.Minute)
		next, err := f.CreateKey(t.Context(), bot)
		if err != nil || good(text) || !good(next.Text.Reveal()) {
			t.Errorf("replaced: %v; the old one %v, the new one %v", err, good(text), good(next.Text.Reveal()))
		}
		if at, err := f.RevokeKey(t.Context(), bot); err != nil || !at.Equal(f.at) || good(next.Text.Reveal()) {
			t.Errorf("revoked at %v, %v", at, err)
		}
		if info, ok, err := f.Key(t.Context(), bot); err != nil || !ok || info.RevokedAt.IsZero() || info.Prefix != next.Prefix {
			t.Errorf("info afterwards %+v, %v, %v", info, ok, err)
		}
		var kinds []session.Kind
		for _, e := range f.trail.rows {
			kinds = append(kinds, e.Kind)
		}
		if fmt.Sprint(kinds) != "[aggregator_registered aggregator_key_made aggregator_key_made aggregator_key_revoked]" {
			t.Errorf("audit %v", kinds)
		}
	})
}

// TestKeysAtOnce holds that of keys made at once the last is good, alone.
func TestKeysAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.key(t)
		keys := make(chan string, 10)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				key, err := f.CreateKey(context.Background(), bot)
				if err != nil {
					t.Errorf("create: %v", err)
				}
				keys <- key.Text.Reveal()
			})
		}
		wg.Wait()
		close(keys)
		good := 0
		for key := range keys {
			if _, err := f.Authenticate(t.Context(), key); err == nil {
				good++
			}
		}
		if good != 1 {
			t.Errorf("%d keys are good, want 1", good)
		}
	})
}

// authorize puts what a community says about the bot into the index.
func (f *fixture) authorize(t *testing.T, community syntax.DID, key syntax.RecordKey, enabled bool) {
	t.Helper()
	record := map[string]any{"$type": string(index.AuthorizationCollection), "aggregatorDid": string(bot), "communityDid": string(community),
		"enabled": enabled, "createdAt": "2026-01-02T03:04:05Z", "createdBy": string(mallory)}
	commit, drops := f.index.Prepare(community, syntax.NewTIDNow(0), []index.Op{{Action: index.Create, Collection: index.AuthorizationCollection,
		RKey: key, CID: "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", Record: record}})
	if len(drops) > 0 {
		t.Fatal(drops)
	}
	err := f.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := f.index.Apply(t.Context(), tx, []index.Commit{commit})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMayPost holds A11: only where the community says so now, and only so often.
func TestMayPost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		may := func(community syntax.DID) fault.Kind {
			if err := f.MayPost(t.Context(), bot, community, ""); err != nil {
				return fault.KindOf(err)
			}
			return 0
		}
		if got := may(commons); got != fault.Forbidden {
			t.Errorf("unasked: %v", got)
		}
		f.authorize(t, commons, "a", true)
		f.authorize(t, gardens, "a", true)
		for range 3 {
			if got := may(commons); got != 0 {
				t.Errorf("authorized: %v", got)
			}
		}
		if got := may(commons); got != fault.Limited {
			t.Errorf("too often: %v", got)
		}
		f.authorize(t, meadows, "a", true)
		for n := range 10 { // two of three
			if err := f.MayPost(t.Context(), bot, meadows, []string{"one", "two"}[n%2]); err != nil {
				t.Errorf("repeated: %v", err)
			}
		}
		if first, second := may(meadows), may(meadows); first != 0 || second != fault.Limited {
			t.Errorf("after calls that were repeated: %v, %v; want one to be left", first, second)
		}
		if err := f.MayPost(t.Context(), bot, meadows, "one"); err != nil {
			t.Errorf("repeated when there is nothing left: %v", err)
		}
		if got := may(gardens); got != 0 {
			t.Errorf("another community: %v", got)
		}
		f.authorize(t, gardens, "b", false)
		if got := may(gardens); got != fault.Forbidden {
			t.Errorf("no longer authorized: %v", got)
		}
		if err := f.MayPost(t.Context(), mallory, commons, ""); fault.From(err).Code != "NotAuthorized" {
			t.Errorf("somebody else: %v", err)
		}
	})
}

// TestPostsAreCountedByAllProcesses holds the bound of an hour over processes that
// count at once, over restarts, and within any hour.
func TestPostsAreCountedByAllProcesses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first := newFixture(t, db)
		first.key(t)
		first.authorize(t, commons, "a", true)
		second := newFixture(t, db)
		second.at = first.at.Add(time.Second) // clocks differ
		var wg sync.WaitGroup
		var posted atomic.Int64
		for n := range 20 {
			f := []*fixture{first, second}[n%2]
			wg.Go(func() {
				switch err := f.MayPost(t.Context(), bot, commons, ""); {
				case err == nil:
					posted.Add(1)
				case fault.KindOf(err) != fault.Limited || fault.From(err).RetryAfter <= 0 || fault.From(err).RetryAfter > time.Hour:
					t.Errorf("may post: %v after %v", err, fault.From(err).RetryAfter)
				}
			})
		}
		wg.Wait()
		if n := posted.Load(); n != 3 {
			t.Errorf("%d posts by two processes, want 3", n)
		}
		restarted := newFixture(t, db)
		restarted.at = first.at.Add(59 * time.Minute)
		if err := restarted.MayPost(t.Context(), bot, commons, ""); fault.KindOf(err) != fault.Limited {
			t.Errorf("after a restart: %v", err)
		}
		if n, err := Sweep(t.Context(), db, restarted.at); n != 0 || err != nil {
			t.Errorf("%d notes swept that count still, %v", n, err)
		}
		restarted.at = first.at.Add(time.Hour + time.Second)
		if err := restarted.MayPost(t.Context(), bot, commons, ""); err != nil {
			t.Errorf("an hour later: %v", err)
		}
		if n, err := Sweep(t.Context(), db, restarted.at); n != 3 || err != nil {
			t.Errorf("%d notes swept, %v; want the 3 old ones", n, err)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if s, err := New(Config{}); err == nil || s != nil {
		t.Errorf("nothing is enough: %v", errors.Unwrap(err))
	}
}
