package store_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		mustExec(t, db, thing)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for round := range size.Size(2, 50) {
			c := childCommand(t, "insert-for-ever", cfg)
			c.wait(t, strconv.Itoa(20+round))
			last := 20 + round
			if rest := c.kill(t); len(rest) > 0 {
				last, _ = strconv.Atoi(rest[len(rest)-1])
			}
			db := storetest.Open(t, cfg)
			got := column(t, db.Read(), `SELECT id FROM thing ORDER BY id`)
			if len(got) <= last || got[last] != fmt.Sprintf("%06d", last) {
				t.Fatalf("round %d: row %d was acknowledged before the kill, %d rows are left", round, last, len(got))
			}
			mustExec(t, db, `DELETE FROM thing`)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A loss of power cannot be staged here; what makes SQLite survive one can be
// looked up.
func TestSQLiteSyncsEveryCommit(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	for pragma, want := range map[string]string{
		"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "fullfsync": "1", "checkpoint_fullfsync": "1",
	} {
		var got string
		if err := db.Writer().QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("PRAGMA %s on the writer = %q, %v; want %q", pragma, got, err, want)
		}
	}
	var readOnly int64
	if err := db.Read().QueryRowContext(t.Context(), "PRAGMA query_only").Scan(&readOnly); err != nil || readOnly != 1 {
		t.Errorf("PRAGMA query_only on a reader = %d, %v; want 1", readOnly, err)
	}
}

func TestCheckpointsKeepTheLogShort(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db := storetest.Open(t, cfg)
	mustExec(t, db, thing)
	mustExec(t, db, `INSERT INTO thing (id, body) VALUES ('a', $1)`, make([]byte, 1<<20))
	if pages, err := db.Checkpoint(t.Context()); err != nil || pages < 200 {
		t.Fatalf("checkpoint saw %d pages, %v; want the megabyte that was written", pages, err)
	}
	if err := db.TruncateLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.Path + "-wal")
	if err != nil || info.Size() != 0 {
		t.Errorf("the log after truncating: %v, %v; want 0 bytes", info.Size(), err)
	}
	if got := things(t, db); got != "a" {
		t.Errorf("things after truncating = %q, want a", got)
	}
	if err := db.Writable(t.Context()); err != nil {
		t.Errorf("Writable after truncating: %v", err)
	}
}

func TestTruncatingDoesNotWaitLongForAReader(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	mustExec(t, db, thing)
	mustExec(t, db, `INSERT INTO thing (id) VALUES ('a'), ('b')`)
	rows, err := db.Read().QueryContext(t.Context(), `SELECT id FROM thing`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	rows.Next()
	mustExec(t, db, `INSERT INTO thing (id) VALUES ('c')`)
	if err := db.TruncateLog(t.Context()); err != nil {
		t.Errorf("truncate beside a reader: %v, want it to give up quietly", err)
	}
	mustExec(t, db, `INSERT INTO thing (id) VALUES ('d')`)
	if !rows.Next() || rows.Next() || rows.Err() != nil {
		t.Errorf("the reader lost its view of the database: %v", rows.Err())
	}
}
