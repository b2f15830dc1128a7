package job

import (
	"context"
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// How long finished jobs are kept, and how many one transaction removes.
const (
	keepDone   = 24 * time.Hour
	keepOthers = 30 * 24 * time.Hour
	pruneBatch = 1000
)

// upkeep counts the queue and removes what has been finished for long enough.
func (q *Queue) upkeep(ctx context.Context) error {
	if err := q.measure(ctx); err != nil {
		return err
	}
	return q.prune(ctx)
}

// measure sets the gauges.
func (q *Queue) measure(ctx context.Context) error {
	counts, err := q.Count(ctx)
	if err != nil {
		return err
	}
	q.metrics.depth.Reset()
	q.metrics.oldest.Reset()
	now := q.cfg.Now()
	for _, c := range counts {
		q.metrics.depth.WithLabelValues(c.Kind, string(c.State)).Set(float64(c.Jobs))
		if c.State == Waiting {
			q.metrics.oldest.WithLabelValues(c.Kind).Set(max(0, now.Sub(c.Oldest).Seconds()))
		}
	}
	return nil
}

// Count is how many jobs of a kind are in a state.
type Count struct {
	Kind  string
	State State
	Jobs  int
	// Oldest is the earliest time at which one of them could begin; of
	// finished ones it means nothing.
	Oldest time.Time
}

// Count counts what is in the queue, finished jobs among them.
func (q *Queue) Count(ctx context.Context) ([]Count, error) {
	rows, err := q.cfg.DB.Read().QueryContext(ctx, `
		SELECT kind, state, count(*), min(run_at) FROM job GROUP BY kind, state ORDER BY kind, state`)
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	var all []Count
	for rows.Next() {
		var c Count
		var oldest int64
		if err := rows.Scan(&c.Kind, &c.State, &c.Jobs, &oldest); err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		c.Oldest = store.FromMicros(oldest)
		all = append(all, c)
	}
	return all, rows.Err()
}

// prune removes finished jobs, batch by batch.
func (q *Queue) prune(ctx context.Context) error {
	now := q.cfg.Now()
	for {
		var n int64
		err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
			res, err := tx.ExecContext(ctx, `
				DELETE FROM job WHERE id IN (SELECT id FROM job WHERE finished_at > 0
					AND finished_at <= CASE WHEN state = 'done' THEN CAST($1 AS BIGINT) ELSE CAST($2 AS BIGINT) END LIMIT $3)`,
				store.Micros(now.Add(-keepDone)), store.Micros(now.Add(-keepOthers)), pruneBatch)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return fmt.Errorf("remove finished jobs: %w", err)
		}
		if n < pruneBatch {
			return nil
		}
	}
}

// Trouble says that jobs have failed in the last day, for those who watch.
func (q *Queue) Trouble(ctx context.Context) error {
	var n int
	err := q.cfg.DB.Read().QueryRowContext(ctx, `SELECT count(*) FROM job WHERE state = 'failed' AND finished_at > $1`,
		store.Micros(q.cfg.Now().Add(-24*time.Hour))).Scan(&n)
	if err != nil {
		return fmt.Errorf("count failed jobs: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("%d jobs failed in the last day; `atoll jobs list --state failed` shows them", n)
	}
	return nil
}
