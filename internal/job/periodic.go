package job

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// periodicKey makes one job of a periodic kind live at a time.
const periodicKey = "periodic"

// enqueuePeriods enqueues the periodic jobs whose slot of time nobody has
// enqueued yet.
func (q *Queue) enqueuePeriods(ctx context.Context) error {
	q.mu.Lock()
	periods := maps.Clone(q.periods)
	q.mu.Unlock()
	if len(periods) == 0 {
		return nil
	}
	taken, err := q.slots(ctx)
	if err != nil {
		return fmt.Errorf("read slots of periodic jobs: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(periods)) {
		slot := q.cfg.Now().UnixMicro() / int64(periods[name]/time.Microsecond)
		if last, ok := taken[name]; ok && last >= slot {
			continue
		}
		if err := q.enqueuePeriod(ctx, name, slot); err != nil {
			return fmt.Errorf("enqueue periodic job %s: %w", name, err)
		}
	}
	return nil
}

func (q *Queue) slots(ctx context.Context) (map[string]int64, error) {
	rows, err := q.cfg.DB.Read().QueryContext(ctx, `SELECT kind, slot FROM job_period`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	taken := map[string]int64{}
	for rows.Next() {
		var name string
		var slot int64
		if err := rows.Scan(&name, &slot); err != nil {
			return nil, err
		}
		taken[name] = slot
	}
	return taken, rows.Err()
}

// enqueuePeriod takes the slot and enqueues its job, unless another process did.
func (q *Queue) enqueuePeriod(ctx context.Context, name string, slot int64) error {
	return q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO job_period (kind, slot) VALUES (CAST($1 AS TEXT), CAST($2 AS BIGINT))
			ON CONFLICT (kind) DO UPDATE SET slot = excluded.slot WHERE job_period.slot < excluded.slot`, name, slot)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			return err
		}
		var live bool
		err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM job WHERE kind = $1 AND unique_key = $2
			AND state IN ('waiting', 'parked', 'running'))`, name, periodicKey).Scan(&live)
		if err != nil || live {
			return err // the last one is not over yet: the next slot will do
		}
		_, err = q.Enqueue(ctx, tx, Insert{Kind: name, Unique: periodicKey})
		return err
	})
}
