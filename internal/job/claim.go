package job

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/atoll-social/atoll/internal/store"
)

// lease is this process's hold on one job.
type lease struct {
	kind   string
	claim  int64
	cancel context.CancelCauseFunc
	over   atomic.Bool // completed by its worker's own transaction
}

// due reports whether there is something to claim or to take over, so that an
// idle process doesn't take the write lock every second.
func (q *Queue) due(ctx context.Context) (bool, error) {
	now := store.Micros(q.cfg.Now())
	var yes bool
	err := q.cfg.DB.Read().QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM job WHERE state IN ('waiting', 'parked') AND run_at <= $1)
			OR EXISTS (SELECT 1 FROM job WHERE state = 'running' AND lease_until <= $1)`, now).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look for due jobs: %w", err)
	}
	return yes, nil
}

// rescue lets others take the jobs whose workers gave no sign of life for the
// length of a lease. Those out of attempts have failed: perhaps it is they who
// kill the process.
func (q *Queue) rescue(ctx context.Context) error {
	now := store.Micros(q.cfg.Now())
	var lost []string
	err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		lost = nil
		rows, err := tx.QueryContext(ctx, `
			UPDATE job SET owner = '', lease_until = 0, run_at = CAST($1 AS BIGINT), again = false,
				error = 'the process that ran it ended, or could not reach the database',
				attempts = CASE WHEN again THEN 0 ELSE attempts END,
				state = CASE WHEN attempts >= max_attempts AND NOT again THEN 'failed' ELSE 'waiting' END,
				finished_at = CASE WHEN attempts >= max_attempts AND NOT again THEN CAST($1 AS BIGINT) ELSE 0 END
			WHERE state = 'running' AND lease_until <= CAST($1 AS BIGINT)
			RETURNING kind`, now)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			lost = append(lost, name)
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("take expired jobs back: %w", err)
	}
	for _, name := range lost {
		q.metrics.expired.WithLabelValues(name).Inc()
		q.log.WarnContext(ctx, "lease of a job expired", "kind", name)
	}
	return nil
}

// room is how many jobs this process can take now, in all and by kind.
func (q *Queue) room() (free int, byKind map[string]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	byKind = map[string]int{}
	for name, k := range q.kinds {
		byKind[name] = k.limit
	}
	for _, l := range q.running {
		byKind[l.kind]--
	}
	return q.cfg.Workers - len(q.running), byKind
}

// claim takes what this process has room for, the most urgent first. full says
// that there may be more.
func (q *Queue) claim(ctx context.Context) (jobs []Job, full bool, err error) {
	err = q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		jobs, full = nil, false
		free, byKind := q.room()
		for free > 0 {
			ids, more, err := q.candidates(ctx, tx, free, byKind)
			if err != nil || len(ids) == 0 {
				return err
			}
			taken, err := q.take(ctx, tx, ids)
			if err != nil {
				return err
			}
			jobs = append(jobs, taken...)
			if free -= len(ids); !more {
				return nil
			}
		}
		full = true
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("claim jobs: %w", err)
	}
	return jobs, full, nil
}

// candidates picks due jobs and counts them off byKind. On PostgreSQL they are
// locked and those that others look at are passed over; SQLite has one writer.
func (q *Queue) candidates(ctx context.Context, tx *store.Tx, free int, byKind map[string]int) (ids []string, more bool, err error) {
	var names []string
	for name, n := range byKind {
		if n > 0 {
			names = append(names, name)
		}
	}
	in, args := store.List(3, names)
	query := `SELECT id, kind FROM job WHERE state IN ('waiting', 'parked') AND run_at <= $1 AND kind IN ` + in + `
		ORDER BY priority DESC, run_at, id LIMIT $2`
	if q.cfg.DB.Engine() == store.Postgres {
		query += ` FOR UPDATE SKIP LOCKED`
	}
	rows, err := tx.QueryContext(ctx, query, append([]any{store.Micros(q.cfg.Now()), free}, args...)...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	seen := 0
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, false, err
		}
		seen++
		if byKind[name] > 0 {
			byKind[name]--
			ids = append(ids, id)
		}
	}
	return ids, seen == free && len(ids) < free, rows.Err()
}

// take makes the picked jobs ours.
func (q *Queue) take(ctx context.Context, tx *store.Tx, ids []string) ([]Job, error) {
	now := q.cfg.Now()
	in, args := store.List(4, ids)
	rows, err := tx.QueryContext(ctx, `
		UPDATE job SET state = 'running', attempts = attempts + 1, claim = claim + 1, again = false,
			owner = CAST($1 AS TEXT), lease_until = CAST($2 AS BIGINT), started_at = CAST($3 AS BIGINT)
		WHERE id IN `+in+` RETURNING id, kind, args, attempts, max_attempts, created_at, claim`,
		append([]any{q.owner, store.Micros(now.Add(q.cfg.Timing.Lease)), store.Micros(now)}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		j := Job{queue: q}
		var created int64
		var raw []byte
		if err := rows.Scan(&j.ID, &j.Kind, &raw, &j.Attempt, &j.MaxAttempts, &created, &j.claim); err != nil {
			return nil, err
		}
		j.Args, j.CreatedAt = raw, store.FromMicros(created)
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// beat extends the leases of all jobs of this process. A job that is not ours
// any more has its worker cancelled.
func (q *Queue) beat(ctx context.Context) error {
	held := q.held()
	if len(held) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(held))
	claims := map[string]int64{}
	until := store.Micros(q.cfg.Now().Add(q.cfg.Timing.Lease))
	err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		clear(claims)
		in, args := store.List(3, ids)
		rows, err := tx.QueryContext(ctx, `UPDATE job SET lease_until = CAST($1 AS BIGINT)
			WHERE state = 'running' AND owner = $2 AND id IN `+in+` RETURNING id, claim`, append([]any{until, q.owner}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var n int64
			if err := rows.Scan(&id, &n); err != nil {
				return err
			}
			claims[id] = n
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("extend leases: %w", err)
	}
	for id, l := range held {
		if n, ok := claims[id]; !ok || n != l.claim {
			l.cancel(ErrLost)
		}
	}
	return nil
}

// held returns the leases of this process.
func (q *Queue) held() map[string]*lease {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.running)
}

// Hold fails with ErrLost unless the worker still holds the job, and keeps
// anybody from taking it until tx ends: what tx writes is fenced.
func (j Job) Hold(ctx context.Context, tx *store.Tx) error {
	query := `SELECT count(*) FROM job WHERE id = $1 AND claim = $2 AND state = 'running'`
	if j.queue.cfg.DB.Engine() == store.Postgres {
		query = `SELECT count(*) FROM (SELECT 1 FROM job WHERE id = $1 AND claim = $2 AND state = 'running' FOR UPDATE) AS held`
	}
	var n int
	if err := tx.QueryRowContext(ctx, query, j.ID, j.claim).Scan(&n); err != nil {
		return fmt.Errorf("hold job %s: %w", j.ID, err)
	}
	if n == 0 {
		return ErrLost
	}
	return nil
}

// Complete finishes the job in the worker's own transaction: what tx writes and
// that it is done are one. Errors: ErrLost.
func (j Job) Complete(ctx context.Context, tx *store.Tx) error {
	if err := j.queue.settle(ctx, tx, j, verdict{state: Done}); err != nil {
		return err
	}
	if l := j.lease; l != nil {
		tx.AfterCommit(func() { l.over.Store(true) })
	}
	return nil
}
