package index

import (
	"slices"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestHeld holds I7's base: what the index has of a repository is listed, for
// every record type, and no more after the deletes.
func TestHeld(t *testing.T) {
	t.Parallel()
	for _, collection := range RecordTypes() {
		if heldQueries[collection] == "" {
			t.Errorf("what is held of %s cannot be listed", collection)
		}
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x, w := newIndex(t, db), world{"held"}
		did := w.did(1)
		var creates, deletes []Op
		for n := range deeds() {
			op := w.op(act{who: 1, collection: n, key: 1, action: Create, a: 2, b: 1, c: 1, d: 1})
			creates = append(creates, op)
			deletes = append(deletes, remove(op.Collection, op.RKey))
		}
		apply(t, x, prepare(t, x, did, 1, creates...))
		held, err := x.Held(t.Context(), did)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range creates {
			there := func(h Held) bool {
				return h.Collection == op.Collection && h.RKey == op.RKey && (h.CID == "" || h.CID == op.CID)
			}
			if !slices.ContainsFunc(held, there) {
				t.Errorf("%s/%s is not held; held are %v", op.Collection, op.RKey, held)
			}
		}
		apply(t, x, prepare(t, x, did, 2, deletes...))
		if held, err = x.Held(t.Context(), did); err != nil || len(held) > 0 {
			t.Errorf("after the deletes %v are held, %v", held, err)
		}
	})
}
