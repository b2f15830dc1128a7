// Package storetest gives tests migrated databases: one of their own for every
// test, on SQLite and on PostgreSQL.
package storetest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
)

// engines, in the order in which subtests appear.
var engines = []store.Engine{store.SQLite, store.Postgres}

// Each runs fn as two parallel subtests, "sqlite" and "postgres", each with a
// migrated, empty database of its own.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachConfig(t, func(t *testing.T, cfg store.Config) { fn(t, Open(t, cfg)) })
}

// EachConfig is Each for tests that open the database themselves, or several
// times, as several processes would.
func EachConfig(t *testing.T, fn func(t *testing.T, cfg store.Config)) {
	t.Helper()
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			fn(t, NewConfig(t, engine))
		})
	}
}

// EachEmpty is EachConfig with databases that nobody has migrated.
func EachEmpty(t *testing.T, fn func(t *testing.T, cfg store.Config)) {
	t.Helper()
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Path: newPath(t)}
			if engine == store.Postgres {
				cfg = store.Config{URL: CreateDatabase(t, "TEMPLATE template0")}
			}
			fn(t, cfg)
		})
	}
}

// New returns a migrated, empty database of one engine.
func New(t testing.TB, engine store.Engine) *store.DB {
	t.Helper()
	return Open(t, NewConfig(t, engine))
}

// NewConfig makes a migrated, empty database and says how to open it. It is
// gone when the test ends.
func NewConfig(t testing.TB, engine store.Engine) store.Config {
	t.Helper()
	if engine == store.Postgres {
		return store.Config{URL: newPostgres(t)}
	}
	image, err := sqliteImage()
	if err != nil {
		t.Fatalf("make the SQLite template: %v", err)
	}
	path := newPath(t)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatalf("copy the SQLite template: %v", err)
	}
	return store.Config{Path: path}
}

// Open opens a database and closes it when the test ends.
func Open(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open the test database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the test database: %v", err)
		}
	})
	return db
}

// sqliteImage is a migrated database file, made once for the process.
var sqliteImage = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp(fastFolder(), sqlitePrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "atoll.db")
	if err := migrate(store.Config{Path: path}); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
