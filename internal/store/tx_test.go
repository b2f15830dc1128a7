package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

var errStop = errors.New("stop")

func insertThing(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO thing (id) VALUES ($1)`, id)
	return err
}

// things returns the ids of all things.
func things(t *testing.T, db *store.DB) string {
	t.Helper()
	return strings.Join(column(t, db.Read(), `SELECT id FROM thing ORDER BY id`), " ")
}

func TestTxLeavesNothingUnlessItSucceeds(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		ctx, cancel := context.WithCancel(t.Context())
		bodies := map[string]func(tx *store.Tx) error{
			"an error": func(tx *store.Tx) error { return errors.Join(insertThing(ctx, tx, "error"), errStop) },
			"a panic": func(tx *store.Tx) error {
				_ = insertThing(ctx, tx, "panic")
				panic(errStop)
			},
			"a swallowed error": func(tx *store.Tx) error {
				_ = insertThing(ctx, tx, "swallowed")
				_ = insertThing(ctx, tx, "swallowed")
				_ = insertThing(ctx, tx, "after")
				return nil
			},
			"bad text, swallowed": func(tx *store.Tx) error {
				_ = insertThing(ctx, tx, "bad")
				_ = insertThing(ctx, tx, "\x00")
				return nil
			},
			"a context that ends": func(tx *store.Tx) error {
				if err := insertThing(ctx, tx, "context"); err != nil {
					return err
				}
				cancel()
				return nil
			},
		}
		for _, name := range []string{"an error", "a panic", "a swallowed error", "bad text, swallowed", "a context that ends"} {
			err := try(func() error { return db.Tx(ctx, bodies[name]) })
			if err == nil {
				t.Errorf("Tx with %s succeeded", name)
			}
			if got := things(t, db); got != "" {
				t.Errorf("Tx with %s left %q", name, got)
			}
		}
		if err := db.Tx(ctx, func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("Tx with a cancelled context = %v, want context.Canceled", err)
		}
		// The connections must be usable after all that.
		mustExec(t, db, `INSERT INTO thing (id) VALUES ('fine')`)
		if got := things(t, db); got != "fine" {
			t.Errorf("afterwards: %q, want fine", got)
		}
	})
}

// try turns a panic into an error.
func try(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

func TestAFailedStatementEndsTheTransaction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			if err := errors.Join(insertThing(t.Context(), tx, "a"), insertThing(t.Context(), tx, "b")); err != nil {
				return err
			}
			first := insertThing(t.Context(), tx, "a")
			if !store.IsUnique(first) {
				t.Errorf("second insert of a: %v, want a unique violation", first)
			}
			var id string
			if err := tx.QueryRowContext(t.Context(), `SELECT id FROM thing`).Scan(&id); !store.IsUnique(err) {
				t.Errorf("a query after the failure: %v, want the first error", err)
			}
			if _, err := tx.QueryContext(t.Context(), `SELECT id FROM thing`); !store.IsUnique(err) {
				t.Errorf("a query after the failure: %v, want the first error", err)
			}
			return nil
		})
		if !store.IsUnique(err) {
			t.Errorf("Tx = %v, want the first error", err)
		}
	})
}

func TestAStatementIsRefusedWhileRowsAreOpen(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `INSERT INTO thing (id) VALUES ('a'), ('b')`)
		_ = db.Tx(t.Context(), func(tx *store.Tx) error {
			rows, err := tx.QueryContext(t.Context(), `SELECT id FROM thing`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			if !rows.Next() {
				t.Fatal("no rows")
			}
			if err := insertThing(t.Context(), tx, "c"); err == nil {
				t.Error("a statement ran while rows were open; PostgreSQL cannot do that")
			}
			return nil
		})
	})
}

func TestTxInsideTxEnds(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		cfg.MaxReaders = 2
		db := storetest.Open(t, cfg)
		db.SetAcquireFor(100 * time.Millisecond)
		var nest func(depth int) error
		nest = func(depth int) error {
			if depth == 0 {
				return nil
			}
			return db.Tx(t.Context(), func(*store.Tx) error { return nest(depth - 1) })
		}
		err := nest(cfg.MaxReaders + 1)
		if err == nil || !strings.Contains(err.Error(), "transaction inside a transaction") || !store.IsTransient(err) {
			t.Errorf("Tx inside Tx = %v, want an error that says so", err)
		}
		if err := db.Writable(t.Context()); err != nil {
			t.Errorf("Writable() afterwards = %v", err)
		}
	})
}

// Read-modify-write in one statement, from many goroutines and two processes'
// worth of connections, loses nothing.
func TestConcurrentTransactionsLoseNothing(t *testing.T) {
	t.Parallel()
	workers, each := 8, size.Size(10, 200)
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		one, two := storetest.Open(t, cfg), storetest.Open(t, cfg)
		mustExec(t, one, thing)
		mustExec(t, one, `INSERT INTO thing (id, n) VALUES ('counter', 0)`)
		var group sync.WaitGroup
		for w := range workers {
			db := one
			if w%2 == 1 {
				db = two
			}
			group.Go(func() {
				for range each {
					err := db.Tx(t.Context(), func(tx *store.Tx) error {
						_, err := tx.ExecContext(t.Context(), `UPDATE thing SET n = n + 1 WHERE id = 'counter'`)
						return err
					})
					if err != nil {
						t.Errorf("increment: %v", err)
						return
					}
				}
			})
		}
		group.Wait()
		want := []string{fmt.Sprint(workers * each)}
		if diff := cmp.Diff(want, column(t, one.Read(), `SELECT n FROM thing`)); diff != "" {
			t.Errorf("counter (-want +got):\n%s", diff)
		}
	})
}

// Two transactions that lock the same rows in opposite order: PostgreSQL kills
// one of them, Tx runs it again. SQLite never lets it come to that.
func TestDeadlocksAreRetried(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `INSERT INTO thing (id, n) VALUES ('a', 0), ('b', 0)`)
		var both, group sync.WaitGroup
		both.Add(2)
		for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
			attempts := 0
			group.Go(func() {
				err := db.Tx(t.Context(), func(tx *store.Tx) error {
					attempts++
					for i, id := range order {
						if i == 1 && attempts == 1 && db.Engine() == store.Postgres {
							both.Done()
							both.Wait()
						}
						if _, err := tx.ExecContext(t.Context(), `UPDATE thing SET n = n + 1 WHERE id = $1`, id); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Errorf("transaction %v: %v", order, err)
				}
			})
		}
		group.Wait()
		if diff := cmp.Diff([]string{"2", "2"}, column(t, db.Read(), `SELECT n FROM thing ORDER BY id`)); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
	})
}

// holdWriter keeps SQLite's write lock through a handle of its own, as another
// process would, until release is called.
func holdWriter(t *testing.T, cfg store.Config) (release func()) {
	t.Helper()
	other := storetest.Open(t, cfg)
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = other.Tx(context.Background(), func(*store.Tx) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	return sync.OnceFunc(func() { close(free); <-done })
}

func TestTxWaitsForAnotherProcess(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db := storetest.Open(t, cfg)
	release := holdWriter(t, cfg)
	waiting := make(chan error, 1)
	go func() { waiting <- db.Writable(context.Background()) }()
	select {
	case err := <-waiting:
		t.Errorf("Writable while another process writes = %v, want it to wait", err)
	case <-time.After(400 * time.Millisecond): // longer than SQLite itself waits
	}
	release()
	if err := <-waiting; err != nil {
		t.Errorf("Writable after the other process finished = %v", err)
	}
}

func TestTxGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db := storetest.Open(t, cfg)
	defer holdWriter(t, cfg)()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := db.Tx(ctx, func(*store.Tx) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Tx = %v, want context.DeadlineExceeded", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("Tx gave up after %v, its context ended after 50ms", took)
	}
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db := storetest.Open(t, cfg)
	mustExec(t, db, thing)
	defer holdWriter(t, cfg)()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // the writer goes on for longer
	defer cancel()
	var n int64
	if err := db.Read().QueryRowContext(ctx, `SELECT count(*) FROM thing`).Scan(&n); err != nil {
		t.Errorf("read beside a writer: %v", err)
	}
}

// TestAfterCommit holds that what waits for a commit hears of it once, and
// never of a transaction that left nothing.
func TestAfterCommit(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		var told []string
		note := func(id string, err error) error {
			return db.Tx(t.Context(), func(tx *store.Tx) error {
				tx.AfterCommit(func() { told = append(told, id) })
				return errors.Join(insertThing(t.Context(), tx, id), err)
			})
		}
		if err := note("kept", nil); err != nil {
			t.Fatal(err)
		}
		if err := note("left", errStop); !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		if err := note("kept", nil); err == nil {
			t.Fatal("a second thing of the same id")
		}
		if diff := cmp.Diff([]string{"kept"}, told); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
	})
}
