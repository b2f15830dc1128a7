package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// lagMost is how far a stream may be behind before that is told.
	lagMost = time.Minute
	// restAfter is after how long without an event a stream is all here.
	restAfter = 30 * time.Second
)

// Status tells how a source is doing.
type Status struct {
	URL       string
	Connected bool
	// Standby tells that another process follows the sources.
	Standby bool
	// Cursor is the sequence number committed last; zero before the first.
	Cursor int64
	// Behind is the age of the event committed last when it was committed.
	Behind time.Duration
	// Trouble is why it is not connected, or does not get on; empty when all is well.
	Trouble string

	movedAt time.Time // when the last event was committed
}

// lag is how far a source is behind: nothing when it waits for events.
func (s Status) lag(now time.Time) time.Duration {
	if s.Standby || now.Sub(s.movedAt) > restAfter {
		return 0
	}
	return s.Behind
}

// Status lists the sources in the order of the configuration.
func (in *Ingester) Status() []Status {
	var out []Status
	for _, s := range in.sources {
		out = append(out, s.status.get())
	}
	return out
}

// Lagging names the sources that are more than a minute behind, nil when there
// is none.
func (in *Ingester) Lagging(context.Context) error {
	var slow []error
	for _, s := range in.Status() {
		if lag := s.lag(time.Now()); lag > lagMost {
			slow = append(slow, fmt.Errorf("%s is %s behind", s.URL, lag.Round(time.Second)))
		}
	}
	return errors.Join(slow...)
}

// HasDead says that there are dead letters, nil when there are none.
func (in *Ingester) HasDead(ctx context.Context) error {
	n, err := in.deadCount(ctx)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d dead letters; see `atoll ingest dead`", n)
	}
	return err
}

func (in *Ingester) deadCount(ctx context.Context) (n int64, err error) {
	if err := in.cfg.DB.Read().QueryRowContext(ctx, `SELECT count(*) FROM ingest_dead`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// board holds a source's status for whoever asks.
type board struct {
	mu sync.Mutex
	s  Status
}

func (b *board) get() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s
}

func (b *board) set(change func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.s)
}
