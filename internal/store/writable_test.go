package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestWritableWrites(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 2 {
			if err := db.Writable(t.Context()); err != nil {
				t.Fatalf("Writable() = %v", err)
			}
		}
		got := column(t, db.Read(), `SELECT count(*) FROM write_check WHERE written_at > 1700000000000000`)
		if diff := cmp.Diff([]string{"1"}, got); diff != "" {
			t.Errorf("rows written (-want +got):\n%s", diff)
		}
	})
}

func TestWritableSaysThatTheDatabaseIsReadOnly(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		if cfg.URL != "" {
			cfg.URL += "&default_transaction_read_only=on" // as a standby is
		}
		db := storetest.Open(t, cfg)
		if cfg.URL == "" {
			if _, err := db.Writer().ExecContext(t.Context(), `PRAGMA query_only = 1`); err != nil {
				t.Fatal(err)
			}
		}
		err := db.Writable(t.Context())
		if !errors.Is(err, store.ErrReadOnly) || !store.IsTransient(err) {
			t.Errorf("Writable() = %v, want ErrReadOnly, transient", err)
		}
	})
}

func TestAFullDiskIsNoticed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	mustExec(t, db, thing)
	if _, err := db.Writer().ExecContext(t.Context(), `PRAGMA max_page_count = 1`); err != nil { // no more than it has
		t.Fatal(err)
	}
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO thing (id) VALUES ($1)`, strings.Repeat("x", 1<<20))
		return err
	})
	if !store.IsTransient(err) || store.IsBadData(err) || !errors.Is(store.WriteTrouble(err), store.ErrDiskFull) {
		t.Errorf("insert on a full disk: %v, want ErrDiskFull, transient", err)
	}
}

func TestWritableBeforeMigrationFails(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		if err := storetest.Open(t, cfg).Writable(t.Context()); err == nil {
			t.Error("Writable() of an empty database succeeded")
		}
	})
}
