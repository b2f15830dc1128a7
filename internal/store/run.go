package store

import (
	"context"
	"fmt"
	"time"
)

const (
	checkpointEvery = time.Second
	optimizeEvery   = 24 * time.Hour
	// longLog is the size of the write-ahead log, in pages of 4 KiB, from which
	// on writers are held up to start it anew: reads get slower with its length.
	longLog = 16384
	// holdUp is how long they are held up at most.
	holdUp = time.Second
)

// Run looks after the database until ctx ends; then it returns nil. On SQLite it
// moves the write-ahead log into the file every second, off the committer's
// path, and refreshes the planner's statistics at the start and daily. PostgreSQL
// does both by itself.
func (db *DB) Run(ctx context.Context) error {
	if db.engine == Postgres {
		<-ctx.Done()
		return nil
	}
	db.optimize(ctx, "PRAGMA optimize=0x10002")
	checkpoint := time.NewTicker(checkpointEvery)
	defer checkpoint.Stop()
	optimize := time.NewTicker(optimizeEvery)
	defer optimize.Stop()
	// Not the writer, which would be held up, and none of the readers.
	own := openWriter(db.path)
	defer own.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-optimize.C:
			db.optimize(ctx, "PRAGMA optimize")
		case <-checkpoint.C:
			length, err := walCheckpoint(ctx, own, "PASSIVE")
			if err == nil && length > longLog {
				err = db.truncateLog(ctx)
			}
			if err != nil && ctx.Err() == nil {
				db.logger.WarnContext(ctx, "checkpoint", "error", err)
			}
		}
	}
}

// truncateLog starts the log anew even while readers never pause: new
// transactions wait until those that read the old log are done.
func (db *DB) truncateLog(ctx context.Context) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	set := func(wait time.Duration) error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", wait.Milliseconds()))
		return err
	}
	if err := set(holdUp); err != nil {
		return err
	}
	_, err = walCheckpoint(ctx, conn, "TRUNCATE")
	if restore := set(busyTimeout); err == nil {
		err = restore
	}
	return err
}

// walCheckpoint runs a checkpoint and returns the length of the log in pages.
// One that others were in the way of is no error: the next one goes on.
func walCheckpoint(ctx context.Context, q Querier, mode string) (length int64, err error) {
	var busy, moved int64
	err = q.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &length, &moved)
	return length, err
}

// optimize refreshes statistics where they are out of date, reading at most a
// few hundred rows of each index.
func (db *DB) optimize(ctx context.Context, pragma string) {
	conn, err := db.acquire(ctx)
	if err == nil {
		defer conn.Close()
		_, err = conn.ExecContext(ctx, "PRAGMA analysis_limit = 400; "+pragma)
	}
	if err != nil && ctx.Err() == nil {
		db.logger.WarnContext(ctx, "refresh statistics", "error", err)
	}
}
