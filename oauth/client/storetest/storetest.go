// Package storetest holds any client.SessionStore, client.DueStore and
// client.AttemptStore against what package client demands of it: the comparison
// of versions under concurrency, leases between processes, whole and durable
// saves, stores that share nothing with their callers.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// Open returns two stores over the same, empty storage, as two processes would
// have them. Where there is only one process they may be the same.
type Open[S any] func(t *testing.T) (one, other S)

// Sessions is the suite for a client.SessionStore. Each test opens storage of its
// own.
func Sessions(t *testing.T, open Open[client.SessionStore]) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, client.SessionStore, client.SessionStore){
		"keeps everything":                keepsEverything,
		"compares versions":               comparesVersions,
		"one of many savers wins":         oneSaverWins,
		"shares nothing with its callers": sharesNothing,
		"deletes for good":                deletesForGood,
		"what is unknown is not found":    unknown,
		"what fails changes nothing":      failsWhole,
		"keeps leases":                    keepsLeases,
		"one of many takes the lease":     oneTakesTheLease,
		"a slow holder is refused":        slowHolder,
		"sessions stay apart":             stayApart,
		"an ended context ends calls":     endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := open(t)
			test(t, one, other)
		})
	}
}

// NewSession makes a session with every field set, at rest and never saved.
func NewSession(t testing.TB) *client.SessionData {
	t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &client.SessionData{
		ID: rand.Text(), DID: syntax.DID("did:plc:" + rand.Text()[:24]), Issuer: "https://auth.example.com", PDS: "https://pds.example.com",
		ClientID: "https://app.example.com/oauth-client-metadata.json", KeyID: "key-1", DPoPKey: key,
		AccessToken: "access-" + rand.Text(), RefreshToken: "refresh-" + rand.Text(), Scope: "atproto repo:a.b.c",
		TokenEndpoint: "https://auth.example.com/oauth/token", RevocationEndpoint: "https://auth.example.com/oauth/revoke",
		CreatedAt: now.Add(-time.Hour), UsedAt: now, RefreshedAt: now, AccessExpiresAt: now.Add(time.Hour),
		RefreshExpiresAt: now.Add(90 * 24 * time.Hour),
	}
}

// difference compares sessions; keys count by their thumbprints, times to the
// microsecond.
func difference(want, got *client.SessionData) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b *dpop.Key) bool { return a.Thumbprint() == b.Thumbprint() }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Microsecond }))
}

func save(t *testing.T, s client.SessionStore, d *client.SessionData) {
	t.Helper()
	if err := s.Save(t.Context(), d); err != nil {
		t.Fatalf("Save of version %d: %v", d.Version, err)
	}
}

func get(t *testing.T, s client.SessionStore, id string) *client.SessionData {
	t.Helper()
	d, err := s.Get(t.Context(), id)
	if err != nil || d == nil {
		t.Fatalf("Get = %v, %v; want the session", d, err)
	}
	return d
}

// fresh saves a new session and returns it.
func fresh(t *testing.T, s client.SessionStore) *client.SessionData {
	t.Helper()
	d := NewSession(t)
	save(t, s, d)
	return d
}

func keepsEverything(t *testing.T, one, other client.SessionStore) {
	d := NewSession(t)
	save(t, one, d)
	if d.Version != 1 {
		t.Errorf("the first save left version %d in what was given, want 1", d.Version)
	}
	if diff := difference(d, get(t, other, d.ID)); diff != "" {
		t.Errorf("after the first save, want - got +\n%s", diff)
	}
	next := NewSession(t)
	next.ID, next.DID, next.Version, next.CreatedAt, next.UsedAt = d.ID, d.DID, d.Version, d.CreatedAt, d.UsedAt
	next.Issuer, next.PDS, next.KeyID, next.Scope = "https://a.example.org", "https://b.example.org", "key-2", "atproto"
	next.LeaseOwner, next.LeaseUntil, next.SentUntil = "me", time.Now().Add(time.Minute).UTC(), time.Now().Add(time.Second).UTC()
	save(t, other, next)
	if diff := difference(next, get(t, one, d.ID)); diff != "" {
		t.Errorf("after another save, want - got +\n%s", diff)
	}
	bare := NewSession(t)
	bare.KeyID, bare.RefreshToken, bare.RevocationEndpoint = "", "", ""
	bare.AccessExpiresAt, bare.RefreshExpiresAt = time.Time{}, time.Time{}
	save(t, one, bare)
	if got := get(t, other, bare.ID); difference(bare, got) != "" || !got.AccessExpiresAt.IsZero() || !got.LeaseUntil.IsZero() {
		t.Errorf("a session without what may be missing, want - got +\n%s", difference(bare, got))
	}
}

func comparesVersions(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	again := d.Clone()
	again.Version = 0
	if err := other.Save(t.Context(), again); !errors.Is(err, client.ErrConflict) {
		t.Errorf("Save of a new session under a known id = %v, want ErrConflict", err)
	}
	stale := d.Clone()
	save(t, other, d)
	if err := one.Save(t.Context(), stale); !errors.Is(err, client.ErrConflict) || stale.Version != 1 {
		t.Errorf("Save of an old version = %v with version %d, want ErrConflict and nothing changed", err, stale.Version)
	}
	future := d.Clone()
	future.Version += 5
	if err := one.Save(t.Context(), future); !errors.Is(err, client.ErrConflict) {
		t.Errorf("Save of a version that never was = %v, want ErrConflict", err)
	}
	for want := int64(3); want < 8; want++ {
		save(t, one, d)
		if got := get(t, other, d.ID).Version; d.Version != want || got != want {
			t.Errorf("versions after a save: %d given back, %d stored; want %d", d.Version, got, want)
		}
	}
}

// oneSaverWins: of concurrent saves of one version, one is done and the others
// change nothing.
func oneSaverWins(t *testing.T, one, other client.SessionStore) {
	const savers, rounds = 12, 4
	d := fresh(t, one)
	for round := range rounds {
		var winner atomic.Pointer[client.SessionData]
		var won, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range savers {
			mine, store := d.Clone(), [...]client.SessionStore{one, other}[i%2]
			mine.AccessToken = fmt.Sprintf("access-%d-%d", round, i)
			wg.Go(func() {
				switch err := store.Save(t.Context(), mine); {
				case err == nil:
					won.Add(1)
					winner.Store(mine)
				case errors.Is(err, client.ErrConflict):
					refused.Add(1)
				default:
					t.Errorf("Save = %v, want nil or ErrConflict", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || refused.Load() != savers-1 {
			t.Fatalf("%d of %d concurrent saves were done, %d refused; want one done", won.Load(), savers, refused.Load())
		}
		d = get(t, other, d.ID)
		if d.AccessToken != winner.Load().AccessToken || d.Version != winner.Load().Version {
			t.Fatalf("version %d with %s is stored, want what the winner saved", d.Version, d.AccessToken)
		}
	}
}

func sharesNothing(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	want := d.Clone()
	d.AccessToken, d.Version = "changed", 99
	got := get(t, one, want.ID)
	got.RefreshToken, got.LeaseOwner = "changed", "changed"
	if diff := difference(want, get(t, one, want.ID)); diff != "" {
		t.Errorf("a caller changed what is stored without saving, want - got +\n%s", diff)
	}
	if diff := difference(want, get(t, other, want.ID)); diff != "" {
		t.Errorf("the other store, want - got +\n%s", diff)
	}
}

func deletesForGood(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	if err := other.Delete(t.Context(), d.ID, client.ReasonRevoked); err != nil {
		t.Fatalf("Delete = %v", err)
	}
	if _, err := one.Get(t.Context(), d.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Get after Delete = %v, want ErrNotFound", err)
	}
	if err := one.Save(t.Context(), d); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Save after Delete = %v, want ErrNotFound: a refresh must not bring a session back", err)
	}
	if _, err := other.Get(t.Context(), d.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Get after Delete and Save = %v, want ErrNotFound", err)
	}
	if err := one.Delete(t.Context(), d.ID, client.ReasonExpired); err != nil {
		t.Errorf("second Delete = %v, want nil", err)
	}
}

func unknown(t *testing.T, one, _ client.SessionStore) {
	if d, err := one.Get(t.Context(), "nobody"); d != nil || !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Get of nothing = %v, %v; want nil and ErrNotFound", d, err)
	}
	if err := one.Delete(t.Context(), "nobody", client.ReasonRevoked); err != nil {
		t.Errorf("Delete of nothing = %v, want nil", err)
	}
	d := NewSession(t)
	d.Version = 3
	if err := one.Save(t.Context(), d); !errors.Is(err, client.ErrNotFound) || d.Version != 3 {
		t.Errorf("Save of a known version of nothing = %v, want ErrNotFound", err)
	}
}

func failsWhole(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	want := d.Clone()
	d.Version, d.AccessToken, d.PDS, d.LeaseOwner = 7, "other", "https://other.example.com", "thief"
	if err := one.Save(t.Context(), d); err == nil || d.Version != 7 {
		t.Errorf("Save of a wrong version = %v, version %d; want an error and what was given unchanged", err, d.Version)
	}
	if diff := difference(want, get(t, other, want.ID)); diff != "" {
		t.Errorf("after a save that was refused, want - got +\n%s", diff)
	}
}

// keepsLeases: taking, extending and giving back a lease are saves like any other.
func keepsLeases(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	until := time.Now().Add(45 * time.Second).UTC().Truncate(time.Microsecond)
	d.LeaseOwner, d.LeaseUntil = "one", until
	save(t, one, d)
	if got := get(t, other, d.ID); got.LeaseOwner != "one" || !got.LeaseUntil.Equal(until) || !got.SentUntil.IsZero() {
		t.Errorf("lease of %q until %v, sent until %v; want what was saved", got.LeaseOwner, got.LeaseUntil, got.SentUntil)
	}
	d.SentUntil = until
	save(t, one, d)
	if got := get(t, other, d.ID); !got.SentUntil.Equal(until) {
		t.Errorf("sent until %v, want %v", got.SentUntil, until)
	}
	d.LeaseOwner, d.LeaseUntil, d.SentUntil = "", time.Time{}, time.Time{}
	save(t, one, d)
	if got := get(t, other, d.ID); got.LeaseOwner != "" || !got.LeaseUntil.IsZero() || !got.SentUntil.IsZero() {
		t.Errorf("after giving it back: %q until %v, sent until %v; want nothing", got.LeaseOwner, got.LeaseUntil, got.SentUntil)
	}
}

// oneTakesTheLease: two processes with several workers each.
func oneTakesTheLease(t *testing.T, one, other client.SessionStore) {
	const workers = 12
	d := fresh(t, one)
	var holders atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		store := [...]client.SessionStore{one, other}[i%2]
		wg.Go(func() {
			mine, err := store.Get(t.Context(), d.ID)
			if err != nil {
				t.Errorf("Get = %v", err)
				return
			}
			if mine.LeaseOwner != "" {
				return
			}
			mine.LeaseOwner, mine.LeaseUntil = fmt.Sprint("worker ", i), time.Now().Add(time.Minute)
			switch err := store.Save(t.Context(), mine); {
			case err == nil:
				holders.Add(1)
			case !errors.Is(err, client.ErrConflict):
				t.Errorf("Save = %v, want nil or ErrConflict", err)
			}
		})
	}
	wg.Wait()
	if holders.Load() != 1 {
		t.Errorf("%d workers hold the lease, want one", holders.Load())
	}
}

func slowHolder(t *testing.T, one, other client.SessionStore) {
	slow := fresh(t, one)
	slow.LeaseOwner, slow.LeaseUntil = "slow", time.Now().Add(-time.Minute)
	save(t, one, slow)
	quick := get(t, other, slow.ID)
	quick.LeaseOwner, quick.LeaseUntil = "quick", time.Now().Add(time.Minute)
	save(t, other, quick)
	quick.AccessToken, quick.RefreshToken, quick.LeaseOwner, quick.LeaseUntil = "newer", "newer", "", time.Time{}
	save(t, other, quick)
	slow.AccessToken, slow.RefreshToken, slow.LeaseOwner = "older", "older", ""
	if err := one.Save(t.Context(), slow); !errors.Is(err, client.ErrConflict) {
		t.Errorf("Save by a holder whose lease ran out = %v, want ErrConflict", err)
	}
	if got := get(t, one, slow.ID); got.AccessToken != "newer" {
		t.Errorf("stored access token is %q, want the newer one", got.AccessToken)
	}
}

func stayApart(t *testing.T, one, other client.SessionStore) {
	a, b := NewSession(t), NewSession(t)
	b.DID = a.DID // one member, two devices
	save(t, one, a)
	save(t, other, b)
	a.AccessToken = "changed"
	save(t, one, a)
	if err := one.Delete(t.Context(), a.ID, client.ReasonRevoked); err != nil {
		t.Fatal(err)
	}
	if diff := difference(b, get(t, one, b.ID)); diff != "" {
		t.Errorf("changing one session of a member changed the other, want - got +\n%s", diff)
	}
}

// endedContext: a call either does what was asked or says that it has not.
func endedContext(t *testing.T, one, other client.SessionStore) {
	d := fresh(t, one)
	want := get(t, other, d.ID)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.AccessToken = "changed"
	if err := one.Save(ctx, d); err == nil {
		want = d
	}
	if diff := difference(want, get(t, other, d.ID)); diff != "" {
		t.Errorf("after Save with an ended context, want - got +\n%s", diff)
	}
}
