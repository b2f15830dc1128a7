package job

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// verdict is what becomes of a job after a run.
type verdict struct {
	state State
	runAt time.Time // of Waiting and Parked
	err   error
	free  bool // the run doesn't count as an attempt
}

const (
	maxBackoff = time.Hour
	minPark    = time.Second         // a worker that parks into the past must not spin
	maxPark    = 30 * 24 * time.Hour // what a server asks for beyond is a mistake of its own
)

// judge decides by what the worker returned.
func (q *Queue) judge(j Job, err error) verdict {
	now := q.cfg.Now()
	var park *parked
	var discard *discarded
	switch {
	case err == nil:
		return verdict{state: Done}
	case errors.As(err, &discard):
		return verdict{state: Discarded, err: err}
	case errors.As(err, &park):
		at := now.Add(min(max(park.until.Sub(now), minPark), maxPark))
		return verdict{state: Parked, runAt: at, err: err, free: true}
	case j.Attempt >= j.MaxAttempts:
		return verdict{state: Failed, err: err}
	}
	return verdict{state: Waiting, runAt: now.Add(backoff(q.cfg.Timing.Backoff, j.Attempt)), err: err}
}

// backoff doubles with every attempt and is spread by half, so that what failed
// together doesn't come back together.
func backoff(base time.Duration, attempt int) time.Duration {
	d := maxBackoff
	if shift := attempt - 1; shift < 30 && base<<shift < maxBackoff {
		d = base << shift
	}
	return d/2 + rand.N(d)
}

// settle writes the verdict. Errors: ErrLost when the job is not the worker's
// any more. A job that was asked for again while it ran is waiting instead.
func (q *Queue) settle(ctx context.Context, tx *store.Tx, j Job, v verdict) error {
	now := q.cfg.Now()
	finished, back, runAt := now, 0, v.runAt
	if v.state == Waiting || v.state == Parked {
		finished = time.Time{}
	}
	if v.free {
		back = 1
	}
	if runAt.IsZero() {
		runAt = now
	}
	// What ends is begun anew if it was asked for again; what goes on will run anyway.
	res, err := tx.ExecContext(ctx, `
		UPDATE job SET owner = '', lease_until = 0, again = false, error = CAST($1 AS TEXT), run_at = CAST($2 AS BIGINT),
			state = CASE WHEN again AND CAST($3 AS BIGINT) > 0 THEN 'waiting' ELSE CAST($4 AS TEXT) END,
			finished_at = CASE WHEN again THEN 0 ELSE CAST($3 AS BIGINT) END,
			attempts = CASE WHEN again AND CAST($3 AS BIGINT) > 0 THEN 0 ELSE attempts - CAST($5 AS BIGINT) END
		WHERE id = $6 AND claim = $7 AND state = 'running'`,
		errorText(v.err), store.Micros(runAt), store.Micros(finished), string(v.state), back, j.ID, j.claim)
	if err != nil {
		return fmt.Errorf("settle job %s: %w", j.ID, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("settle job %s: %w", j.ID, err)
	}
	if n == 0 {
		return ErrLost
	}
	return nil
}

// finish settles a job after its run. The database may be away for a while:
// it goes on trying for as long as the lease lasts without a heartbeat.
func (q *Queue) finish(ctx context.Context, j Job, v verdict) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.cfg.Timing.Lease)
	defer cancel()
	pause := time.Second / 4
	for {
		err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return q.settle(ctx, tx, j, v) })
		switch {
		case err == nil:
			q.noteOutcome(ctx, j, v)
			return
		case errors.Is(err, ErrLost):
			q.metrics.outcomes.WithLabelValues(j.Kind, outcomeLost).Inc()
			q.log.WarnContext(ctx, "job finished after its lease was lost; whoever has it now decides", "kind", j.Kind, "job", j.ID)
			return
		case ctx.Err() != nil || !store.IsTransient(err):
			q.log.ErrorContext(ctx, "outcome of a job not saved, it will run again", "kind", j.Kind, "job", j.ID, "error", err)
			return
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		case <-ctx.Done():
		}
	}
}

// noteOutcome counts and logs.
func (q *Queue) noteOutcome(ctx context.Context, j Job, v verdict) {
	outcome := string(v.state)
	if v.state == Waiting {
		outcome = outcomeRetried
	}
	q.metrics.outcomes.WithLabelValues(j.Kind, outcome).Inc()
	log := q.log.With("kind", j.Kind, "job", j.ID, "attempt", j.Attempt)
	switch v.state {
	case Failed:
		log.ErrorContext(ctx, "job failed for good; `atoll jobs` shows it", "error", v.err)
	case Discarded:
		log.WarnContext(ctx, "job discarded", "error", v.err)
	case Waiting, Parked:
		log.InfoContext(ctx, "job comes again", "state", string(v.state), "at", v.runAt, "error", v.err)
	default:
		log.DebugContext(ctx, "job done")
	}
}
