package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// newKey returns a line of a key list.
func newKey(t *testing.T) string {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// ring parses lines, the newest first.
func ring(t *testing.T, lines ...string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Parse(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEmptyStorageTakesTheFirstKeyAndNoOther(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first, other := newKey(t), newKey(t)
		if err := db.CheckKey(t.Context(), nil); !errors.Is(err, store.ErrNoKey) {
			t.Errorf("empty storage without a key: %v, want ErrNoKey", err)
		}
		for range 2 {
			if err := db.CheckKey(t.Context(), ring(t, first)); err != nil {
				t.Fatalf("the first key: %v", err)
			}
		}
		want := ring(t, first).CurrentID()
		for name, r := range map[string]*keyring.Ring{"no key": nil, "another key": ring(t, other)} {
			err := db.CheckKey(t.Context(), r)
			var keyErr *store.KeyError
			if !errors.As(err, &keyErr) || keyErr.Want != want {
				t.Errorf("%s: %v, want a KeyError that wants %s", name, err, want)
				continue
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not name the key that is wanted: %v", name, err)
			}
			if r != nil && !cmp.Equal(keyErr.Have, r.IDs()) {
				t.Errorf("%s: the error has %v, want %v", name, keyErr.Have, r.IDs())
			}
		}
		// A newer key above it is fine, and changes nothing yet.
		if err := db.CheckKey(t.Context(), ring(t, other, first)); err != nil {
			t.Errorf("the key below a newer one: %v", err)
		}
		if err := db.CheckKey(t.Context(), ring(t, other)); err == nil {
			t.Error("the newer key alone passed before anything was resealed")
		}
	})
}

func TestResealingTheCheckMakesTheOldKeyDispensable(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		old, fresh := newKey(t), newKey(t)
		if err := db.CheckKey(t.Context(), ring(t, old)); err != nil {
			t.Fatal(err)
		}
		if err := db.ResealKeyCheck(t.Context(), ring(t, fresh)); err == nil {
			t.Error("resealed with a ring that lacks the present key")
		}
		if err := db.ResealKeyCheck(t.Context(), ring(t, fresh, old)); err != nil {
			t.Fatal(err)
		}
		if err := db.CheckKey(t.Context(), ring(t, fresh)); err != nil {
			t.Errorf("the new key alone, after resealing: %v", err)
		}
		if err := db.CheckKey(t.Context(), ring(t, old)); err == nil {
			t.Error("the old key alone passed after resealing")
		}
	})
}

func TestTwoProcessesAgreeOnTheFirstKey(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		var group sync.WaitGroup
		results := make([]error, 4)
		for i := range results {
			db, r := storetest.Open(t, cfg), ring(t, newKey(t))
			group.Go(func() { results[i] = db.CheckKey(t.Context(), r) })
		}
		group.Wait()
		accepted := 0
		for _, err := range results {
			var keyErr *store.KeyError
			switch {
			case err == nil:
				accepted++
			case !errors.As(err, &keyErr):
				t.Errorf("a losing process got %v, want a KeyError", err)
			}
		}
		if accepted != 1 {
			t.Errorf("%d processes with different keys were accepted, want 1", accepted)
		}
	})
}

func TestAnAlteredCheckValueIsRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := ring(t, newKey(t))
		if err := db.CheckKey(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		elsewhere, err := r.Seal([]byte("x"), keyring.Place{Table: "oauth_session", Column: "refresh_token", Key: "1"})
		if err != nil {
			t.Fatal(err)
		}
		for name, sealed := range map[string][]byte{"from elsewhere": elsewhere, "cut off": elsewhere[:10]} {
			mustExec(t, db, `UPDATE key_check SET sealed = $1`, sealed)
			if err := db.CheckKey(t.Context(), r); !errors.Is(err, keyring.ErrTampered) {
				t.Errorf("check value %s: %v, want ErrTampered", name, err)
			}
		}
	})
}
