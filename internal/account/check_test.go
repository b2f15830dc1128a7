package account

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// post calls a method of the PDS with the account's own token.
func (w *world) post(did syntax.DID, method, body string) {
	w.t.Helper()
	d, _, err := w.Doer(w.t.Context(), did)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.net.PDS[0].URL+"/xrpc/"+method, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %v, %v", method, res, err)
	}
	res.Body.Close()
}

// TestDeactivatedIsRepaired holds H4: an account that is not active any more is
// noticed by the regular check and made active again.
func TestDeactivatedIsRepaired(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		w.post(h.DID, "com.atproto.server.deactivateAccount", "{}")
		w.later(checkAfter + time.Minute)
		// Its tokens went with it: the password brings it back.
		if err := w.checkJob(t.Context(), job.Job{}); err != nil {
			t.Fatalf("check: %v", err)
		}
		r := w.row(h.DID.String())
		if r.status != statusActive || r.problem != "" {
			t.Errorf("after the check: %s, %q", r.status, r.problem)
		}
		if err := w.update(t.Context(), h.DID, "back"); err != nil {
			t.Errorf("update: %v", err)
		}
	})
}

// TestGoneAccountIsShown holds that an account which its PDS has deleted answers
// for no handle (H6), is not acted for, and is shown.
func TestGoneAccountIsShown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		if err := w.admin.DeleteAccount(t.Context(), h.DID); err != nil {
			t.Fatal(err)
		}
		id := w.row(h.DID.String()).id
		if err := w.Check(t.Context(), id); !errors.Is(err, errInactive) {
			t.Errorf("Check: %v", err)
		}
		if _, ok, err := w.DIDOf(t.Context(), h.Handle); ok || err != nil {
			t.Errorf("its handle still answers: %v", err)
		}
		if err := w.update(t.Context(), h.DID, "gone"); reason(err) != Inactive {
			t.Errorf("update: %v", err)
		}
		if i, err := w.Get(t.Context(), id); err != nil || i.Status != "deleted" || i.Problem == "" {
			t.Errorf("shown as %+v, %v", i, err)
		}
		if err := w.count(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := w.tally(t.Context()); err != nil || got != (tally{trouble: 1}) {
			t.Errorf("counted %+v, %v", got, err)
		}
	})
}

// TestRename holds that a changed handle changes at the PDS, in the DID document
// and here together (H6).
func TestRename(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		name := network.Name("moved")
		handle, err := w.Rename(t.Context(), h.DID, name)
		if err != nil || handle != syntax.Handle(name+w.net.PDS[0].HandleDomain) {
			t.Fatalf("Rename: %s, %v", handle, err)
		}
		ident, err := w.cfg.Directory.LookupFresh(t.Context(), syntax.AtIdentifier(handle), 0)
		if err != nil || ident.DID != h.DID || ident.Handle != handle {
			t.Errorf("the new handle leads to %+v, %v", ident, err)
		}
		if _, ok, err := w.DIDOf(t.Context(), h.Handle); ok || err != nil {
			t.Errorf("the old handle still answers: %v", err)
		}
		if did, ok, err := w.DIDOf(t.Context(), handle); !ok || did != h.DID || err != nil {
			t.Errorf("the new handle answers %s, %t, %v", did, ok, err)
		}
		taken := w.net.NewAccount(t, 0)
		front, _, _ := strings.Cut(taken.Handle, ".")
		for bad, want := range map[string]Reason{front: Taken, "no": BadName} {
			if _, err := w.Rename(t.Context(), h.DID, bad); reason(err) != want {
				t.Errorf("Rename to %s: %v, want %s", bad, err, want)
			}
		}
		if _, err := w.Rename(t.Context(), alice, name); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Rename of somebody else: %v", err)
		}
	})
}

// TestHandleChangedElsewhere holds that we follow a handle that the PDS's own
// administrator has changed.
func TestHandleChangedElsewhere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		name := network.Name("other")
		handle := syntax.Handle(name + w.net.PDS[0].HandleDomain)
		if err := w.admin.SetHandle(t.Context(), h.DID, handle); err != nil {
			t.Fatal(err)
		}
		if err := w.Check(t.Context(), w.row(h.DID.String()).id); err != nil {
			t.Errorf("Check: %v", err)
		}
		if r := w.row(h.DID.String()); r.handle != handle || r.name != name || r.problem != "" {
			t.Errorf("we have %s (%s), problem %q; want %s", r.handle, r.name, r.problem, handle)
		}
	})
}

// TestIdleCredentialsAreKeptFresh holds that an account nobody acts as is renewed
// daily, so that its credentials are known to work.
func TestIdleCredentialsAreKeptFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	h := w.provision(request())
	w.later(renewAfter + time.Hour)
	for range 2 {
		if err := w.checkJob(t.Context(), job.Job{}); err != nil {
			t.Fatal(err)
		}
	}
	if r := w.row(h.DID.String()); r.version != 2 || w.renewals(renewedByToken) != 1 {
		t.Errorf("version %d, %v renewals; want one renewal", r.version, w.renewals(renewedByToken))
	}
}

// TestLeaseIsFenced holds that who was away for too long saves nothing.
func TestLeaseIsFenced(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		id := w.row(w.provision(request()).DID.String()).id
		old, err := w.hold(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.hold(t.Context(), id); !errors.Is(err, errHeld) {
			t.Fatalf("a second holder: %v", err)
		}
		w.later(leaseTime)
		next, err := w.hold(t.Context(), id)
		if err != nil {
			t.Fatalf("after its end: %v", err)
		}
		old.secrets[accessToken] = keyring.NewSecret("stale")
		if err := old.save(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("the old holder saves: %v", err)
		}
		old.release(t.Context())
		if err := next.save(t.Context()); err != nil {
			t.Errorf("the new holder does not save: %v", err)
		}
		if w.row(id).secrets[accessToken].Reveal() == "stale" {
			t.Error("the stale token was saved")
		}
	})
}

// TestToldByTheNetwork holds that news of an account of ours have it looked at
// soon, and others' none.
func TestToldByTheNetwork(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		if err := w.Changed(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if err := w.admin.DeleteAccount(t.Context(), h.DID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Changed(t.Context(), h.DID); err != nil {
				t.Fatal(err)
			}
		}
		looks, _, err := w.queue.List(t.Context(), job.Query{Kind: lookKind})
		if err != nil || len(looks) != 1 {
			t.Fatalf("%d looks, %v; want one", len(looks), err)
		}
		w.later(time.Second)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.queue.Run(ctx) }()
		for end := time.Now().Add(2 * time.Minute); w.row(h.DID.String()).status == statusActive && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, ok, err := w.DIDOf(t.Context(), h.Handle); ok || err != nil {
			t.Errorf("the handle of the deleted account still answers: %v", err)
		}
	})
}

// TestReseal holds that a new master key takes hosted accounts along.
func TestReseal(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		const fresh = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
		both, err := keyring.Parse(fresh + "\n" + testKey)
		if err != nil {
			t.Fatal(err)
		}
		if done, err := (Seals{DB: w.cfg.DB, Ring: both}).Reseal(t.Context()); err != nil || done != (store.Resealed{Rows: 1}) {
			t.Fatalf("Reseal: %+v, %v", done, err)
		}
		alone, err := keyring.Parse(fresh)
		if err != nil {
			t.Fatal(err)
		}
		w.ring.Replace(alone)
		if err := w.update(t.Context(), h.DID, "resealed"); err != nil {
			t.Errorf("update with the new key alone: %v", err)
		}
		old, err := keyring.Parse(testKey)
		if err != nil {
			t.Fatal(err)
		}
		w.ring.Replace(old)
		if list, err := w.List(t.Context(), false); err != nil || len(list) != 0 || !strings.Contains(w.log.String(), "do not open") {
			t.Errorf("with the old key: %d accounts, %v", len(list), err)
		}
	})
}
