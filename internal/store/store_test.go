package store_test

import (
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestOpenGivesAWritableDatabase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if err := db.Writable(t.Context()); err != nil {
			t.Errorf("Writable() = %v, want nil", err)
		}
	})
}
