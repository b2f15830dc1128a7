package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestErrorsAreClassed(t *testing.T) {
	t.Parallel()
	type class struct{ unique, bad, transient bool }
	tests := []struct {
		name, statement string
		args            []any
		want            class
		only            store.Engine // empty means both
	}{
		{name: "key exists", statement: `INSERT INTO rule (id) VALUES ('there')`, want: class{unique: true, bad: true}},
		{name: "unique column", statement: `INSERT INTO rule (id, u) VALUES ('x', 1)`, want: class{unique: true, bad: true}},
		{name: "check", statement: `INSERT INTO rule (id, n) VALUES ('x', -1)`, want: class{bad: true}},
		{name: "not null", statement: `INSERT INTO rule (id) VALUES (NULL)`, want: class{bad: true}},
		{name: "foreign key", statement: `INSERT INTO rule (id, parent) VALUES ('x', 'nobody')`, want: class{bad: true}},
		{name: "U+0000", statement: `INSERT INTO rule (id) VALUES ($1)`, args: []any{"\x00"}, want: class{bad: true}},
		{name: "overflow", statement: `INSERT INTO rule (id, n) SELECT 'x', CAST(9223372036854775807 AS BIGINT) + n FROM rule`, want: class{bad: true}, only: store.Postgres},
		{name: "index row too long", statement: `INSERT INTO rule (id) VALUES ($1)`, args: []any{noise(1 << 20)}, want: class{bad: true}, only: store.Postgres},
		{name: "no such table", statement: `INSERT INTO nothing (id) VALUES ('x')`},
		{name: "syntax", statement: `INSERT INTO`},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, `CREATE TABLE rule (id TEXT NOT NULL PRIMARY KEY, n BIGINT CHECK (n >= 0), u BIGINT UNIQUE, parent TEXT REFERENCES rule (id))`)
		mustExec(t, db, `INSERT INTO rule (id, n, u) VALUES ('there', 1, 1)`)
		for _, tt := range tests {
			if tt.only != "" && tt.only != db.Engine() {
				continue
			}
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), tt.statement, tt.args...)
				return err
			})
			if err == nil {
				t.Errorf("%s: no error", tt.name)
				continue
			}
			err = fmt.Errorf("wrapped: %w", err)
			if got := (class{store.IsUnique(err), store.IsBadData(err), store.IsTransient(err)}); got != tt.want {
				t.Errorf("%s: %+v, want %+v (%v)", tt.name, got, tt.want, err)
			}
		}
	})
}

// noise is text that doesn't compress, so that it cannot be an index key.
func noise(n int) string {
	var b strings.Builder
	x := uint32(1)
	for b.Len() < n {
		x = x*1664525 + 1013904223
		b.WriteByte('!' + byte(x>>24)%90)
	}
	return b.String()
}

func TestErrorsOfContextsAreClassed(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		context.Canceled: false, context.DeadlineExceeded: true, errors.New("other"): false, nil: false,
	} {
		if got := store.IsTransient(err); got != want {
			t.Errorf("IsTransient(%v) = %t, want %t", err, got, want)
		}
	}
	if store.IsUnique(nil) || store.IsBadData(nil) {
		t.Error("nil is classed as an error")
	}
}

func TestLosingTheConnectionIsTransient(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.Postgres)
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	})
	if !store.IsTransient(err) {
		t.Errorf("IsTransient(%v) = false, want true", err)
	}
	if err := db.Writable(t.Context()); err != nil {
		t.Errorf("Writable on a new connection: %v", err)
	}
}

// A server that restarts breaks every idle connection; the next transaction
// must not notice.
func TestConnectionsThatBrokeWhileIdleAreReplaced(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.Postgres)
	cfg.MaxReaders = 4
	db, killer := storetest.Open(t, cfg), storetest.Open(t, cfg)
	if err := db.Writable(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, killer, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err := db.Writable(t.Context()); err != nil {
		t.Errorf("Writable after the idle connections broke: %v", err)
	}
}
