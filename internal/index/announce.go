package index

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

const (
	// newsChannel is on which processes tell each other that the index has changed.
	newsChannel = "atoll_index"
	// newsPause is the least time between two tellings.
	newsPause = 10 * time.Millisecond
	// listenAgain is how long after the end of a connection another one is made.
	listenAgain = time.Second

	// patient and impatient are what Patience returns.
	patient   = time.Second
	impatient = 100 * time.Millisecond
)

// Run tells other processes on the database when this one changes the index, and
// wakes those who Watch when others do, until ctx ends; then it returns nil. On
// SQLite there is nobody to tell.
func (x *Index) Run(ctx context.Context, logger *slog.Logger) error {
	self := rand.Text() // which of the messages are this process's own
	var wg sync.WaitGroup
	wg.Go(func() { x.announce(ctx, logger, self) })
	for ctx.Err() == nil {
		err := x.db.Listen(ctx, newsChannel,
			func() {
				x.told.Store(true)
				x.watchers.hear() // what was missed until now
			},
			func(who string) {
				if who != self {
					x.watchers.hear()
				}
			})
		if x.told.Store(false); err == nil {
			break
		}
		x.watchers.hear() // they have to ask by themselves now
		logger.WarnContext(ctx, "changes of other processes are not told; asking for them", "error", err)
		rest(ctx, listenAgain)
	}
	wg.Wait()
	return nil
}

// announce tells others, at most once in a while.
func (x *Index) announce(ctx context.Context, logger *slog.Logger, self string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.watchers.own:
		}
		// They find out without, only later.
		if err := x.db.Notify(ctx, newsChannel, self); err != nil && ctx.Err() == nil {
			logger.DebugContext(ctx, "tell other processes of a change", "error", err)
		}
		rest(ctx, newsPause)
	}
}

// Patience is after what time whoever watches the index asks for changes by
// themselves: soon where other processes change it and cannot tell. Beside SQLite
// there are only the operator's commands.
func (x *Index) Patience() time.Duration {
	if x.told.Load() || x.db.Engine() == store.SQLite {
		return patient
	}
	return impatient
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
