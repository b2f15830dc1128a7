package job

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// Info is a job as an operator sees it.
type Info struct {
	ID                    string
	Kind                  string
	State                 State
	Args                  json.RawMessage
	Unique                string
	Priority              int
	Attempts, MaxAttempts int
	RunAt, CreatedAt      time.Time
	StartedAt, FinishedAt time.Time // zero: not yet
	Owner                 string    // of the lease
	LeaseUntil            time.Time
	Again                 bool // it runs once more after this run
	Error                 string
}

// Query selects jobs. Empty fields select all.
type Query struct {
	State State
	Kind  string
	Limit int // 100 if not positive, 1000 at most
}

const infoColumns = `id, kind, state, args, unique_key, priority, attempts, max_attempts, run_at, created_at,
	started_at, finished_at, owner, lease_until, again, error`

func scanInfo(row interface{ Scan(...any) error }) (i Info, err error) {
	var args []byte
	var runAt, created, started, finished, lease int64
	err = row.Scan(&i.ID, &i.Kind, &i.State, &args, &i.Unique, &i.Priority, &i.Attempts, &i.MaxAttempts, &runAt, &created,
		&started, &finished, &i.Owner, &lease, &i.Again, &i.Error)
	i.Args = args
	i.RunAt, i.CreatedAt, i.LeaseUntil = store.FromMicros(runAt), store.FromMicros(created), store.FromMicros(lease)
	i.StartedAt, i.FinishedAt = store.FromMicros(started), store.FromMicros(finished)
	return i, err
}

// List returns the newest jobs that query selects; more says that there are
// others.
func (q *Queue) List(ctx context.Context, query Query) (jobs []Info, more bool, err error) {
	if query.Limit <= 0 {
		query.Limit = 100
	}
	query.Limit = min(query.Limit, 1000)
	where, args := []string{"true"}, []any{query.Limit + 1}
	if query.State != "" {
		args = append(args, string(query.State))
		where = append(where, fmt.Sprintf("state = $%d", len(args)))
	}
	if query.Kind != "" {
		args = append(args, query.Kind)
		where = append(where, fmt.Sprintf("kind = $%d", len(args)))
	}
	rows, err := q.cfg.DB.Read().QueryContext(ctx, `SELECT `+infoColumns+` FROM job WHERE `+
		strings.Join(where, " AND ")+` ORDER BY created_at DESC, id DESC LIMIT $1`, args...)
	if err != nil {
		return nil, false, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		i, err := scanInfo(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list jobs: %w", err)
		}
		jobs = append(jobs, i)
	}
	if len(jobs) > query.Limit {
		jobs, more = jobs[:query.Limit], true
	}
	return jobs, more, rows.Err()
}

// Get returns one job. Errors: ErrNotFound.
func (q *Queue) Get(ctx context.Context, id string) (Info, error) {
	i, err := scanInfo(q.cfg.DB.Read().QueryRowContext(ctx, `SELECT `+infoColumns+` FROM job WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Info{}, fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read job %q: %w", id, err)
	}
	return i, nil
}

// Retry lets a job that is not running begin at once, with all its attempts.
// Errors: ErrNotFound; ErrState when it runs, is done, or another one with its
// unique key is live.
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.change(ctx, id, `
		UPDATE job SET state = 'waiting', attempts = 0, run_at = $2, finished_at = 0, error = ''
		WHERE id = $1 AND state IN ('waiting', 'parked', 'failed', 'discarded', 'cancelled')
			AND (unique_key = '' OR NOT EXISTS (SELECT 1 FROM job AS other WHERE other.kind = job.kind
				AND other.unique_key = job.unique_key AND other.id <> job.id AND other.state IN ('waiting', 'parked', 'running')))`)
}

// Cancel ends a live job. A worker that has it is stopped at its next heartbeat
// and cannot finish it. Errors: ErrNotFound, ErrState when it is over.
func (q *Queue) Cancel(ctx context.Context, id string) error {
	return q.change(ctx, id, `
		UPDATE job SET state = 'cancelled', finished_at = $2, owner = '', lease_until = 0, again = false
		WHERE id = $1 AND state IN ('waiting', 'parked', 'running')`)
}

// change runs an operator's statement with the job and the time.
func (q *Queue) change(ctx context.Context, id, statement string) error {
	err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, statement, id, store.Micros(q.cfg.Now()))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && n == 0 {
			err = ErrState
		}
		tx.AfterCommit(q.ring)
		return err
	})
	if errors.Is(err, ErrState) {
		if _, err := q.Get(ctx, id); err != nil {
			return err
		}
	}
	if store.IsUnique(err) {
		err = ErrState
	}
	if err != nil {
		return fmt.Errorf("change job %q: %w", id, err)
	}
	return nil
}
