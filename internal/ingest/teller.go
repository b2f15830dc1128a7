package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	tellEvery = 500 * time.Millisecond
	tellAgain = 30 * time.Second
	tellMost  = 100
)

// Subscriber is told of an account as it is now, after its identity or status
// has changed. It may be told the same twice, also by several processes; an
// error has it told again.
type Subscriber func(ctx context.Context, change index.AccountChange) error

// TellerConfig is what a Teller needs.
type TellerConfig struct {
	Index       *index.Index
	Subscribers []Subscriber
	Logger      *slog.Logger
	// Every is how often changes are looked for; zero means 500 ms.
	Every time.Duration
}

// Teller tells subscribers of changes of accounts that are known here,
// whichever process has heard of them. What is to be told is in the database:
// it is told at least once, also after a crash.
type Teller struct{ cfg TellerConfig }

// NewTeller checks cfg.
func NewTeller(cfg TellerConfig) (*Teller, error) {
	if cfg.Index == nil || cfg.Logger == nil || len(cfg.Subscribers) == 0 {
		return nil, errors.New("ingest: a teller needs an index, a logger and subscribers")
	}
	setDefault(&cfg.Every, tellEvery)
	cfg.Logger = cfg.Logger.With("component", "ingest")
	return &Teller{cfg}, nil
}

// Run tells until ctx ends, then returns nil.
func (t *Teller) Run(ctx context.Context) error {
	ticker := time.NewTicker(t.cfg.Every)
	defer ticker.Stop()
	for {
		more, err := t.round(ctx)
		if err != nil && ctx.Err() == nil {
			t.cfg.Logger.WarnContext(ctx, "changes of accounts not told, trying again", "error", err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round tells what is due, and whether there may be more.
func (t *Teller) round(ctx context.Context) (more bool, err error) {
	list, err := t.cfg.Index.AccountChanges(ctx, tellMost)
	if err != nil {
		return false, err
	}
	for _, change := range list {
		var again time.Duration
		if err := t.tell(ctx, change); err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			t.cfg.Logger.WarnContext(ctx, "change of an account not taken, telling it again", "did", change.DID, "error", err)
			again = tellAgain
		}
		if err := t.cfg.Index.Told(ctx, change, again); err != nil {
			return false, err
		}
	}
	return len(list) == tellMost, nil
}

func (t *Teller) tell(ctx context.Context, change index.AccountChange) error {
	var failed []error
	for _, subscriber := range t.cfg.Subscribers {
		failed = append(failed, subscriber(ctx, change))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("tell of %s: %w", change.DID, err)
	}
	return nil
}
