// Package store opens the database, SQLite or PostgreSQL, and gives the rest of
// the program one way to use either: reads, transactions, migrations and the few
// places where the engines differ. One SQL text runs on both, with parameters
// $1, $2, … that are nil, int64, float64, bool, []byte or string; text is valid
// UTF-8 without U+0000 (ErrBadText).
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Engine names a database engine.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Config says which database to open.
type Config struct {
	// Path is the SQLite file. Its folder is made when it is missing.
	Path string
	// URL is a PostgreSQL connection URL (postgres://…). Empty means SQLite.
	URL string
	// MaxReaders limits the connections that read at the same time (SQLite), or
	// all connections (PostgreSQL). 0 chooses by the number of cores.
	MaxReaders int
	// Logger may be nil.
	Logger *slog.Logger
	// Queried is told every statement of Read before it runs; nil tells nobody.
	// Tests count by it.
	Queried func(query string) `json:"-"`
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine Engine
	// readers and writer are one pool on PostgreSQL. On SQLite the writer is a
	// single connection: there can be one writer anyway, and who waits in line
	// here can give up, which who waits inside SQLite cannot.
	readers, writer *sql.DB
	path            string
	logger          *slog.Logger
	queried         func(query string)
	config          *pgx.ConnConfig // of PostgreSQL
	acquireFor      time.Duration   // how long to wait for a connection
	busy            atomic.Int64    // see Busy
}

// Open opens the database and checks that it answers. It doesn't migrate.
// Errors say what to do and never hold the password of the URL.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "store")
	if cfg.Queried == nil {
		cfg.Queried = func(string) {}
	}
	switch {
	case cfg.URL != "":
		return openPostgres(ctx, cfg)
	case cfg.Path != "":
		return openSQLite(ctx, cfg)
	}
	return nil, errors.New("open database: neither a SQLite path nor a PostgreSQL URL is given")
}

// Close waits for running queries and closes all connections. On SQLite the
// last one to close folds the write-ahead log into the database file.
func (db *DB) Close() error {
	err := db.readers.Close()
	if db.writer != db.readers {
		err = errors.Join(err, db.writer.Close())
	}
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Engine says which engine db is.
func (db *DB) Engine() Engine { return db.engine }

// Busy is how long transactions have been waiting for the engine, or working in
// it, since db was opened: their statements and commits, not what lies between.
func (db *DB) Busy() time.Duration { return time.Duration(db.busy.Load()) }

// worked notes that a statement began then and has ended.
func (db *DB) worked(began time.Time) { db.busy.Add(int64(time.Since(began))) }

// Micros is t as it is stored: microseconds since 1970, UTC. The zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the opposite of Micros. 0 is the zero time.
func FromMicros(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
