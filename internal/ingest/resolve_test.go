package ingest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// directory answers from a table, and notes what it was asked.
type directory struct {
	mu      sync.Mutex
	pds     string
	handles map[syntax.DID]syntax.Handle
	fails   map[syntax.DID]int // times left
	ages    []time.Duration
	stuck   chan struct{} // did:web accounts wait for it
}

func (d *directory) LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error) {
	if d.stuck != nil && id.DID().Method() == "web" {
		select {
		case <-d.stuck:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ages = append(d.ages, maxAge)
	did := id.DID()
	if d.fails[did] > 0 {
		d.fails[did]--
		return nil, &identity.Error{Subject: did.String(), Reason: identity.ErrUnavailable}
	}
	handle, ok := d.handles[did]
	if !ok {
		handle = syntax.HandleInvalid
	}
	return &sdk.Identity{DID: did, Handle: handle, Services: map[string]sdk.ServiceEndpoint{"atproto_pds": {URL: d.pds}}}, nil
}

// LookupDocument always works here.
func (d *directory) LookupDocument(ctx context.Context, did syntax.DID, maxAge time.Duration) (*sdk.Identity, error) {
	ident, err := newWorld().LookupDocument(ctx, did, maxAge)
	if err == nil {
		ident.Services = map[string]sdk.ServiceEndpoint{"atproto_pds": {URL: d.pds}}
	}
	return ident, err
}

func (d *directory) VerifyHandle(context.Context, syntax.DID, syntax.Handle) error { return nil }

func (d *directory) PDS(ident *sdk.Identity) (string, error) { return ident.PDSEndpoint(), nil }

func (d *directory) set(did syntax.DID, handle syntax.Handle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handles[did] = handle
}

// known reads what the index has about an account.
func known(t *testing.T, db *store.DB, did string) string {
	t.Helper()
	var handle, pds, status string
	var due bool
	err := db.Read().QueryRowContext(t.Context(), `
		SELECT COALESCE(handle, ''), COALESCE(pds, ''), COALESCE(status, ''), resolve_due IS NOT NULL
		FROM account WHERE did = $1`, did).Scan(&handle, &pds, &status, &due)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %s %s due=%v", handle, pds, status, due)
}

// TestResolve holds S41 and I8: who is met for the first time is asked for,
// with status, in the background; an identity event asks again, past caches.
func TestResolve(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, w := newHost(t), newWorld()
		h.statuses[bob] = "suspended"
		dir := &directory{pds: h.server.URL, handles: map[syntax.DID]syntax.Handle{
			alice: "alice.example.com", bob: "bob.example.com"}}
		r := start(t, db, quick(), dir, h)
		h.emit(w.post(1, alice, 1, "a"), w.post(2, bob, 2, "b"))
		want := map[string]string{
			alice:   "alice.example.com " + h.server.URL + "  due=false",
			bob:     "bob.example.com " + h.server.URL + " suspended due=false",
			commons: " " + h.server.URL + "  due=false",
		}
		for did, is := range want {
			await(t, did+" as "+is, func() bool { return known(t, db, did) == is })
		}
		if got := r.shown(t); len(got) != 1 {
			t.Errorf("shown %v, want only what is not suspended", got)
		}
		dir.set(alice, "alice.example.org")
		h.emit(identityFrame(3, alice))
		await(t, "the new handle", func() bool {
			return known(t, db, alice) == "alice.example.org "+h.server.URL+"  due=false"
		})
		dir.mu.Lock()
		defer dir.mu.Unlock()
		if last := dir.ages[len(dir.ages)-1]; last != 0 {
			t.Errorf("after an identity event an answer %v old would have done", last)
		}
	})
}

// TestResolveAfterRestart holds that nobody is forgotten: what was due when
// the process ended is asked for by the next.
func TestResolveAfterRestart(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, w := newHost(t), newWorld()
		dir := &directory{pds: h.server.URL, handles: map[syntax.DID]syntax.Handle{}, stuck: make(chan struct{})}
		const web = "did:web:slow.example.com"
		h.emit(w.post(1, web, 1, "a"))
		first := start(t, db, quick(), dir, h)
		await(t, "the post", func() bool { return first.cursor(t, h) == 1 })
		first.stop() // the question is under way
		close(dir.stuck)
		dir.set(web, "slow.example.com")
		start(t, db, quick(), dir, h)
		await(t, "the handle", func() bool { return known(t, db, web) == "slow.example.com "+h.server.URL+"  due=false" })
	})
}

// TestSlowHostsDelayNobody holds that accounts on hosts of strangers' choice
// cannot keep the others waiting.
func TestSlowHostsDelayNobody(t *testing.T) {
	t.Parallel()
	h, w := newHost(t), newWorld()
	dir := &directory{pds: h.server.URL, handles: map[syntax.DID]syntax.Handle{alice: "alice.example.com"}, stuck: make(chan struct{})}
	defer close(dir.stuck)
	for n := 1; n <= 100; n++ {
		h.emit(w.post(int64(n), fmt.Sprintf("did:web:tarpit%d.example.com", n), n, "x"))
	}
	h.emit(w.post(101, alice, 101, "a"))
	db := storetest.New(t, store.SQLite)
	start(t, db, quick(), dir, h)
	await(t, "alice's handle", func() bool { return known(t, db, alice) == "alice.example.com "+h.server.URL+"  due=false" })
}

// TestResolveFailure holds that a failure is put off, longer each time.
func TestResolveFailure(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, w := newHost(t), newWorld()
		dir := &directory{pds: h.server.URL, handles: map[syntax.DID]syntax.Handle{}, fails: map[syntax.DID]int{alice: 1000}}
		h.emit(w.post(1, alice, 1, "a"))
		began := time.Now().Truncate(time.Microsecond) // as it is stored
		r := start(t, db, quick(), dir, h)
		await(t, "a failure", func() bool { return r.metric(t, "resolved_total", "failed") >= 1 })
		var wait, attempts int64
		await(t, "the account to be put off", func() bool {
			err := db.Read().QueryRowContext(t.Context(),
				`SELECT resolve_due, resolve_attempts FROM account WHERE did = $1`, alice).Scan(&wait, &attempts)
			return err == nil && attempts >= 1
		})
		due := store.FromMicros(wait) // as often as it was asked until we looked
		if most := resolveAgainMin << (attempts - 1); due.Before(began.Add(resolveAgainMin/2)) || time.Until(due) > most {
			t.Errorf("asked again at %v after %d attempts since %v", due, attempts, began)
		}
	})
	for attempts, most := range map[int]time.Duration{0: 5 * time.Second, 3: 40 * time.Second, 16: 24 * time.Hour, 1000: 24 * time.Hour} {
		if wait := againAfter(attempts); wait > most || wait < most/2 {
			t.Errorf("after %d attempts: %v, want between half of and %v", attempts, wait, most)
		}
	}
}
