package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const laterTally = `CREATE TABLE tally (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)`

func tally(rows ...[]any) store.Table {
	return store.Table{Names: "n, id", Types: []string{"BIGINT", "BIGINT"}, Rows: rows}
}

// TestLater holds that statements that are not waited for run in their order,
// are seen by the next one, and are committed.
func TestLater(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, laterTally)
		var between int64
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			later := tx.Later()
			later.Insert(t.Context(), "tally", tally([]any{int64(1), int64(7)}, []any{int64(5), int64(8)}), "")
			later.Update(t.Context(), "tally", tally([]any{int64(100), int64(7)}))
			for range 50 {
				later.Add(t.Context(), "tally", tally([]any{int64(1), int64(7)}, []any{int64(1), int64(9)}))
			}
			later.Add(t.Context(), "tally", tally())
			if err := tx.QueryRowContext(t.Context(), `SELECT n FROM tally WHERE id = 7`).Scan(&between); err != nil {
				return err
			}
			later.Update(t.Context(), "tally", tally([]any{int64(-1), int64(8)}))
			return nil
		})
		if err != nil || between != 150 {
			t.Errorf("read %d in between, %v; want 150", between, err)
		}
		got := column(t, db.Read(), `SELECT id || ' ' || n FROM tally ORDER BY id`)
		if diff := cmp.Diff([]string{"7 150", "8 -1", "9 50"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestLaterFails holds that what goes wrong without anybody waiting fails the
// next statement and the transaction, that nothing follows it, and that nothing
// runs any more when a transaction is over.
func TestLaterFails(t *testing.T) {
	t.Parallel()
	twice := tally([]any{int64(1), int64(7)}, []any{int64(2), int64(7)})
	other := tally([]any{int64(3), int64(8)})
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, laterTally)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, tt := range map[string]struct {
			do   func(tx *store.Tx) error
			want func(error) bool
		}{
			"at the commit": {func(tx *store.Tx) error {
				tx.Later().Insert(t.Context(), "tally", twice, "")
				tx.Later().Insert(t.Context(), "tally", other, "")
				return nil
			}, store.IsUnique},
			"at the next statement": {func(tx *store.Tx) error {
				tx.Later().Insert(t.Context(), "tally", twice, "")
				_, err := tx.ExecContext(t.Context(), `SELECT 1`)
				if !store.IsUnique(err) {
					t.Errorf("the next statement: %v", err)
				}
				tx.Later().Insert(t.Context(), "tally", other, "")
				return nil
			}, store.IsUnique},
			"when its context has ended": {func(tx *store.Tx) error {
				tx.Later().Insert(ended, "tally", other, "")
				return nil
			}, func(err error) bool { return errors.Is(err, context.Canceled) }},
			"when the caller gives up": {func(tx *store.Tx) error {
				for range 100 {
					tx.Later().Add(t.Context(), "tally", other)
				}
				return errStop
			}, func(err error) bool { return errors.Is(err, errStop) }},
		} {
			if err := db.Tx(t.Context(), tt.do); !tt.want(err) {
				t.Errorf("%s: the transaction: %v", name, err)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_ = db.Tx(t.Context(), func(tx *store.Tx) error {
				tx.Later().Insert(t.Context(), "tally", other, "")
				panic("stop")
			})
		}()
		if n := column(t, db.Read(), `SELECT count(*) FROM tally`); n[0] != "0" {
			t.Errorf("%s rows stay", n[0])
		}
	})
}

// TestBusy holds that the time of transactions in the engine is counted, theirs
// alone and that of statements that nobody waits for.
func TestBusy(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, laterTally)
		last := db.Busy()
		for name, do := range map[string]func(tx *store.Tx) error{
			"a statement": func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), `DELETE FROM tally`)
				return err
			},
			"one that is not waited for": func(tx *store.Tx) error {
				tx.Later().Insert(t.Context(), "tally", tally([]any{int64(1), int64(7)}), "")
				return nil
			},
			"a commit": func(*store.Tx) error { return nil },
		} {
			if err := db.Tx(t.Context(), do); err != nil {
				t.Fatal(err)
			}
			if now := db.Busy(); now <= last {
				t.Errorf("%s took %v", name, now-last)
			} else {
				last = now
			}
		}
		if _, err := db.Read().ExecContext(t.Context(), `SELECT 1`); err != nil || db.Busy() != last {
			t.Errorf("reading counts %v, %v", db.Busy()-last, err)
		}
	})
}
