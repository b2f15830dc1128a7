package store

import (
	"context"
	"database/sql"
	"io/fs"
	"time"
)

// MigrateFiles is Migrate with other files, as another version of the program has.
func (db *DB) MigrateFiles(ctx context.Context, files fs.FS) error { return db.migrate(ctx, files) }

// LockMigrations holds the lock that Migrate takes.
func (db *DB) LockMigrations(ctx context.Context) (unlock func(), err error) {
	return db.lockMigrations(ctx)
}

// Writer is the pool that writes.
func (db *DB) Writer() *sql.DB { return db.writer }

// SetAcquireFor sets how long a transaction waits for a connection.
func (db *DB) SetAcquireFor(d time.Duration) { db.acquireFor = d }

// TruncateLog starts SQLite's write-ahead log anew.
func (db *DB) TruncateLog(ctx context.Context) error { return db.truncateLog(ctx) }

// Checkpoint moves what it can from SQLite's write-ahead log into the file.
func (db *DB) Checkpoint(ctx context.Context) (pages int64, err error) {
	own := openWriter(db.path)
	defer own.Close()
	return walCheckpoint(ctx, own, "PASSIVE")
}

// WriteTrouble names the cause of a failed write.
func WriteTrouble(err error) error { return writeTrouble(err) }
