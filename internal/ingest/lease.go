package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// errLease tells that another process ingests now.
var errLease = errors.New("another process has taken over")

// lease makes one process at a time ingest into a database. Its holder says
// every Heartbeat that it is there; one that has said nothing for Lease is
// succeeded. Every transaction of the holder reads the lease under a lock
// (hold), so that one that was away for too long cannot write any more,
// whatever its clock says.
type lease struct {
	in    *Ingester
	owner string
	// off: nobody checks it. For commands, which only fetch repositories;
	// what they write is right whoever else writes.
	off bool
}

func newLease(in *Ingester) *lease { return &lease{in: in, owner: rand.Text()} }

// run waits for the lease, does work while it is held, and gives it back.
func (l *lease) run(ctx context.Context, work func(context.Context)) {
	for ctx.Err() == nil {
		if !l.acquire(ctx) {
			return
		}
		working, stop := context.WithCancel(ctx)
		kept := make(chan struct{})
		go func() { defer close(kept); l.keep(working); stop() }()
		work(working)
		stop()
		<-kept
	}
	l.giveBack(ctx)
}

// acquire waits until the lease is ours; false when ctx ended.
func (l *lease) acquire(ctx context.Context) bool {
	told := false
	ticker := time.NewTicker(l.in.cfg.Limits.Heartbeat / 2)
	defer ticker.Stop()
	for {
		ok, err := l.take(ctx)
		if ok {
			l.in.standBy(false)
			return true
		}
		l.in.standBy(err == nil)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			l.in.log.ErrorContext(ctx, "lease not taken, trying again", "error", err)
		case !told:
			told = true
			l.in.log.InfoContext(ctx, "another process ingests, standing by")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}

// take takes or extends the lease; ok is false while another has it.
func (l *lease) take(ctx context.Context) (ok bool, err error) {
	now := l.in.cfg.Now()
	err = l.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO ingest_lease (name, owner, expires_at)
			VALUES ('ingest', CAST($1 AS TEXT), CAST($2 AS BIGINT))
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
			WHERE ingest_lease.owner = excluded.owner OR ingest_lease.expires_at <= $3`,
			l.owner, store.Micros(now.Add(l.in.cfg.Limits.Lease)), store.Micros(now))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		ok = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("take the lease: %w", err)
	}
	return ok, nil
}

// keep extends the lease until it is lost or ctx ends.
func (l *lease) keep(ctx context.Context) {
	ticker := time.NewTicker(l.in.cfg.Limits.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		ok, err := l.take(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil: // others cannot take it either, and hold will tell if they did
			l.in.log.WarnContext(ctx, "lease not extended", "error", err)
		case !ok:
			l.in.log.WarnContext(ctx, "lease lost, standing by")
			return
		}
	}
}

// hold makes sure, in a transaction, that the lease is ours until it commits:
// who takes over waits for it.
func (l *lease) hold(ctx context.Context, tx *store.Tx) error {
	if l.off {
		return nil
	}
	query := `SELECT owner FROM ingest_lease WHERE name = 'ingest'`
	if l.in.cfg.DB.Engine() == store.Postgres {
		query += ` FOR SHARE` // SQLite has one writer
	}
	var owner string
	if err := tx.QueryRowContext(ctx, query).Scan(&owner); err != nil {
		return fmt.Errorf("read the lease: %w", err)
	}
	if owner != l.owner {
		return errLease
	}
	return nil
}

// giveBack lets the next one begin at once.
func (l *lease) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := l.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM ingest_lease WHERE owner = $1`, l.owner)
		return err
	})
	if err != nil {
		l.in.log.WarnContext(ctx, "lease not given back, the next ingester waits for its end", "error", err)
	}
}
