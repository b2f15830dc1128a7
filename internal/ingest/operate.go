package ingest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// Overview is how ingestion stands, as the database tells.
type Overview struct {
	Sources []SourceState
	// Ingesting tells that a process holds the lease.
	Ingesting bool
	// Repositories counts those whose commits are verified, Wanted those that
	// are to be fetched, Failing those of them that failed before.
	Repositories, Wanted, Failing int64
	Dead                          int64
	// Drops is what was passed over since there is this database, by reason,
	// the most frequent first.
	Drops []DropCount
}

// DropCount says how often something was passed over for a reason.
type DropCount struct {
	Reason index.Reason
	Count  int64
	Last   time.Time
}

// SourceState is how far a source has been read.
type SourceState struct {
	URL, Kind string
	Cursor    int64 // zero before the first
	SavedAt   time.Time
	// Behind is how old the last event was when the cursor was saved, where
	// that is known (Timed).
	Behind time.Duration
	Timed  bool
	// PerMinute is how many events a minute were read at CountedAt, which is
	// zero before they were counted.
	PerMinute int64
	CountedAt time.Time
}

// Overview reads how ingestion stands.
func (in *Ingester) Overview(ctx context.Context) (Overview, error) {
	var o Overview
	read := in.cfg.DB.Read()
	err := read.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM ingest_lease WHERE expires_at > $1), (SELECT count(*) FROM ingest_dead),
		    (SELECT count(*) FROM ingest_repo WHERE rev > 0), (SELECT count(*) FROM ingest_repo WHERE wanted),
		    (SELECT count(*) FROM ingest_repo WHERE wanted AND attempts > 0)`, store.Micros(in.cfg.Now())).
		Scan(&o.Ingesting, &o.Dead, &o.Repositories, &o.Wanted, &o.Failing)
	if err != nil {
		return Overview{}, fmt.Errorf("read how ingestion stands: %w", err)
	}
	if o.Sources, err = in.sourceStates(ctx); err != nil {
		return Overview{}, fmt.Errorf("read sources: %w", err)
	}
	if o.Drops, err = in.dropCounts(ctx); err != nil {
		return Overview{}, fmt.Errorf("read what was passed over: %w", err)
	}
	return o, nil
}

func (in *Ingester) sourceStates(ctx context.Context) (out []SourceState, err error) {
	rows, err := in.cfg.DB.Read().QueryContext(ctx, `
		SELECT url, kind, COALESCE(cursor, 0), updated_at, COALESCE(at, 0), per_minute, counted_at FROM ingest_source ORDER BY url`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s SourceState
		var saved, at, counted int64
		if err := rows.Scan(&s.URL, &s.Kind, &s.Cursor, &saved, &at, &s.PerMinute, &counted); err != nil {
			return nil, err
		}
		s.SavedAt = store.FromMicros(saved)
		if at > 0 {
			s.Behind, s.Timed = max(0, s.SavedAt.Sub(store.FromMicros(at))), true
		}
		if counted > 0 {
			s.CountedAt = store.FromMicros(counted)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

func (in *Ingester) dropCounts(ctx context.Context) (out []DropCount, err error) {
	rows, err := in.cfg.DB.Read().QueryContext(ctx, `SELECT reason, dropped, last_at FROM ingest_drop ORDER BY dropped DESC, reason`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d DropCount
		var last int64
		if err := rows.Scan(&d.Reason, &d.Count, &last); err != nil {
			return nil, err
		}
		d.Last = store.FromMicros(last)
		out = append(out, d)
	}
	return out, rows.Err()
}

// Difference counts what a repository and the index do not agree on.
type Difference struct {
	Rev                             syntax.TID
	Missing, Extra, Different, Same int
	// Malformed records are not here because they never can be.
	Malformed int
}

// Verify fetches and verifies a repository and compares the index with it. It
// changes nothing.
func (in *Ingester) Verify(ctx context.Context, did syntax.DID) (Difference, error) {
	s, err := in.download(ctx, did)
	if err != nil {
		return Difference{}, err
	}
	d, err := in.compare(ctx, s)
	out := Difference{Rev: s.rev, Missing: d.Missing, Extra: d.Extra, Different: d.Different, Same: d.Same}
	for _, i := range d.absent {
		if _, drops := in.cfg.Index.Prepare(did, s.rev, d.ops[i:i+1]); len(drops) > 0 {
			out.Missing, out.Malformed = out.Missing-1, out.Malformed+1
		}
	}
	return out, err
}

// Progress is how far a backfill is.
type Progress struct {
	Listed, Left, Failed int64
}

// Commands do their work themselves instead of asking the server for it: that
// works whether or not one runs, shows its progress, and takes no messages.
// It is sound beside a server that ingests: every write passes the same gates
// (of each record, of each repository), whoever makes it first. What is to be
// fetched is in the database, so what a command leaves undone the server does.

// Backfill fetches repositories whole and makes the index what they are. The
// error of those that failed is in the result; they are tried again later.
func (in *Ingester) Backfill(ctx context.Context, dids []syntax.DID, report func(Progress)) (map[syntax.DID]string, error) {
	in.lease.off = true
	for _, did := range dids {
		err := in.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return in.want(ctx, tx, did, true) })
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", did, err)
		}
	}
	failed := map[syntax.DID]string{}
	var trouble error
	defer in.counts.flush(ctx)
	in.fetch.work(ctx, func() bool {
		p := Progress{Listed: int64(len(dids))}
		for _, did := range dids {
			left, reason, err := in.outcome(ctx, did)
			trouble = errors.Join(trouble, err)
			switch {
			case left:
				p.Left++
			case reason != "":
				failed[did] = reason
				p.Failed++
			}
		}
		report(p)
		return p.Left == 0 || trouble != nil
	})
	return failed, errors.Join(trouble, ctx.Err())
}

// want makes a repository one that is to be fetched; again: also where that
// was done before.
func (in *Ingester) want(ctx context.Context, tx *store.Tx, did syntax.DID, again bool) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO ingest_repo (did, rev, data, base, broken, wanted, reason, next_try, attempts, error, fetched_at)
		VALUES ($1, 0, NULL, 0, 0, true, $2, $3, 0, '', 0)
		ON CONFLICT (did) DO UPDATE SET wanted = true, reason = excluded.reason,
		    next_try = excluded.next_try, attempts = 0, error = ''
		WHERE CAST($4 AS BOOLEAN) OR ingest_repo.base = 0`,
		did, wantRequest, store.Micros(in.cfg.Now()), again)
	return err
}

// outcome tells whether a repository is still to be fetched, or why that failed.
func (in *Ingester) outcome(ctx context.Context, did syntax.DID) (left bool, reason string, err error) {
	var attempts int64
	err = in.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT wanted, attempts, error FROM ingest_repo WHERE did = $1`, did).Scan(&left, &attempts, &reason)
	if errors.Is(err, sql.ErrNoRows) {
		return false, "", nil // nothing of ours is in it, or it is not there at all
	}
	return left && attempts == 0, reason, err
}

// CheckDIDs reads the DIDs of a command.
func CheckDIDs(texts []string) ([]syntax.DID, error) {
	var out []syntax.DID
	for _, text := range texts {
		did, err := syntax.ParseDID(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("%.300q is not a DID, such as did:plc:…", text))
		}
		out = append(out, did)
	}
	return out, nil
}
