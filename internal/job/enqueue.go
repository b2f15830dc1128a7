package job

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// maxArgs bounds the arguments, in bytes of JSON; maxUnique a unique key.
const (
	maxArgs   = 64 << 10
	maxUnique = 1024
)

// Insert is a job to be enqueued.
type Insert struct {
	Kind string
	// Args is encoded with encoding/json; []byte and json.RawMessage are taken
	// as JSON already. nil is the JSON null.
	Args any
	// Unique lets one job of the kind with this key live at a time. Empty: no
	// such rule.
	Unique string
	// RunAt is when it may begin; the zero time is now.
	RunAt time.Time
	// Priority: Low, Normal (the zero value) or High.
	Priority int
	// Attempts overrides the kind's.
	Attempts int
}

// Enqueue adds a job to the transaction of the write that it follows from, and
// returns its id. When a job with the same unique key is live, nothing is added
// and that job's id is returned; if it is running, it runs once more afterwards,
// because it may have looked before what tx changes. Its arguments and time stay.
func (q *Queue) Enqueue(ctx context.Context, tx *store.Tx, in Insert) (id string, err error) {
	args, err := encodeArgs(in.Args)
	if err != nil {
		return "", fmt.Errorf("enqueue %s: %w", in.Kind, err)
	}
	if !kindName.MatchString(in.Kind) || len(in.Unique) > maxUnique {
		return "", fmt.Errorf("enqueue %.100q: the kind is misspelt, or the unique key has over %d bytes", in.Kind, maxUnique)
	}
	now := q.cfg.Now()
	if in.RunAt.Before(now) {
		in.RunAt = now
	}
	if in.Attempts <= 0 {
		in.Attempts = q.attempts(in.Kind)
	}
	err = tx.QueryRowContext(ctx, `
		INSERT INTO job (id, kind, args, unique_key, state, priority, attempts, max_attempts, run_at, created_at,
			started_at, finished_at, claim, owner, lease_until, again, error)
		VALUES (CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BYTEA), CAST($4 AS TEXT), 'waiting', CAST($5 AS BIGINT), 0,
			CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT), 0, 0, 0, '', 0, false, '')
		ON CONFLICT (kind, unique_key) WHERE unique_key <> '' AND state IN ('waiting', 'parked', 'running')
			DO UPDATE SET again = (job.state = 'running')
		RETURNING id`,
		strings.ToLower(rand.Text()), in.Kind, args, in.Unique, in.Priority, in.Attempts,
		store.Micros(in.RunAt), store.Micros(now)).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("enqueue %s: %w", in.Kind, err)
	}
	tx.AfterCommit(q.ring)
	return id, nil
}

// EnqueueNow is Enqueue in a transaction of its own.
func (q *Queue) EnqueueNow(ctx context.Context, in Insert) (id string, err error) {
	err = q.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		id, err = q.Enqueue(ctx, tx, in)
		return err
	})
	return id, err
}

// ring wakes the loop of this process, if it sleeps.
func (q *Queue) ring() {
	select {
	case q.wake <- struct{}{}:
	default: // it has been woken already
	}
}

func (q *Queue) attempts(name string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if k, ok := q.kinds[name]; ok {
		return k.attempts
	}
	return defaultAttempts // another process works on it
}

func encodeArgs(args any) ([]byte, error) {
	var text []byte
	switch v := args.(type) {
	case []byte:
		text = v
	case json.RawMessage:
		text = v
	default:
		var err error
		if text, err = json.Marshal(args); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrArgs, err)
		}
	}
	if len(text) > maxArgs || !json.Valid(text) {
		return nil, fmt.Errorf("%w (%d bytes)", ErrArgs, len(text))
	}
	return text, nil
}
