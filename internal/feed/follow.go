package feed

import (
	"context"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	// held is how old the posts are that lists hold in memory.
	held = 366 * 24 * time.Hour
	// margin keeps what is being forgotten apart from what is asked of memory.
	margin = 24 * time.Hour
	// forgetEvery is how often what is too old is dropped.
	forgetEvery = time.Minute
	// lostAfter is when so much may have been missed that lists begin anew.
	lostAfter = 8 * time.Minute
	// loadStep is how many posts are loaded at once.
	loadStep = 5000
	// readFor bounds what is read for everybody who waits.
	readFor = 10 * time.Second
)

// Run loads the lists and follows the index until ctx ends; then it returns
// nil. Trouble with the database is logged and tried again.
func (f *Feeds) Run(ctx context.Context) error {
	if f.bare {
		<-ctx.Done()
		return nil
	}
	woken := f.index.Watch(ctx)
	poll, forget := time.NewTimer(f.index.Patience()), time.NewTicker(forgetEvery)
	defer poll.Stop()
	defer forget.Stop()
	wrong := false
	for {
		poll.Reset(f.index.Patience())
		err := f.keepUp(ctx)
		if err != nil && !wrong && ctx.Err() == nil {
			f.logger.WarnContext(ctx, "feeds cannot be kept up to date; trying on", "error", err)
		}
		wrong = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		case <-poll.C:
		case <-forget.C:
			f.forget()
		}
	}
}

// keepUp loads lists that are not there, and follows.
func (f *Feeds) keepUp(ctx context.Context) error {
	if f.lists.Load() != nil {
		return f.refresh.do(ctx, f.catchUp)
	}
	began := time.Now()
	l, err := f.load(ctx)
	if err != nil {
		return err
	}
	posts := len(l.table.slots)
	f.lists.Store(l) // from here on whoever reads a page may change them
	f.logger.InfoContext(ctx, "feeds are in memory", "posts", posts, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// load reads everything that lists hold. What moves meanwhile is followed
// before anybody sees them.
func (f *Feeds) load(ctx context.Context) (*lists, error) {
	seq, err := f.index.Seq(ctx)
	if err != nil {
		return nil, err
	}
	horizon := f.now().Add(-held).UnixMicro()
	older, err := f.index.AnyBefore(ctx, horizon+2*margin.Microseconds())
	if err != nil {
		return nil, err
	}
	f.older.Store(older)
	var all []index.Rank
	for after := int64(0); ; {
		some, err := f.index.Ranks(ctx, after, horizon, loadStep)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < loadStep {
			break
		}
		after = some[len(some)-1].Post
	}
	l := build(all, seq, horizon)
	changes, seq, err := f.index.Changes(ctx, seq)
	if err != nil {
		return nil, err
	}
	f.follow(l, changes, seq)
	f.cards.Reset(seq)
	return l, nil
}

// checked is when the database was asked for changes last, and after how many
// commits of this process.
type checked struct {
	began   time.Time
	commits int64
}

// fresh brings the lists to what was committed before the call, or a little
// earlier by other processes (Config.Late): readers beside each other then wait
// for the database once.
func (f *Feeds) fresh(ctx context.Context) error {
	if c := f.checked.Load(); c != nil && c.commits == f.index.Commits() && time.Since(c.began) < f.late {
		return nil
	}
	return f.refresh.do(ctx, f.catchUp)
}

// catchUp brings the lists to the last transaction.
func (f *Feeds) catchUp(ctx context.Context) error {
	l := f.lists.Load()
	if l == nil {
		return nil
	}
	check := checked{time.Now(), f.index.Commits()}
	now := f.now()
	if now.Sub(l.seen) > lostAfter {
		f.lists.Store(nil)
		return nil
	}
	changes, seq, err := f.index.Changes(ctx, l.seq)
	if err != nil {
		return err
	}
	if seq < l.seq { // the database was replaced by an older one
		f.lists.Store(nil)
		return nil
	}
	if err := f.followCards(ctx, seq); err != nil {
		return err
	}
	f.follow(l, changes, seq)
	f.checked.Store(&check)
	return nil
}

// followCards forgets what is over by transaction seq.
func (f *Feeds) followCards(ctx context.Context, seq int64) error {
	before := f.cards.Seq()
	if seq <= before {
		return nil
	}
	traces, ok, err := f.index.Traces(ctx, before, seq)
	if err != nil {
		return err
	}
	f.cards.Follow(seq, traces, ok)
	return nil
}

// follow brings lists to seq, and notes posts that are too old for them.
func (f *Feeds) follow(l *lists, changes []index.Change, seq int64) {
	for _, c := range changes {
		if c.Is.Community != 0 && c.Is.CreatedAt < l.horizon+2*margin.Microseconds() {
			f.older.Store(true)
		}
	}
	l.seen = f.now()
	if seq > l.seq {
		l.follow(changes, seq, l.seen)
	}
}

func (f *Feeds) forget() {
	l := f.lists.Load()
	if l == nil {
		return
	}
	horizon := f.now().Add(-held).UnixMicro()
	for l.forget(horizon) {
		f.older.Store(true)
	}
}

// refresher runs a function for everybody who asks, one run at a time; nobody
// is served by a run that began before they asked.
type refresher struct {
	running sync.Mutex
	mu      sync.Mutex
	next    *round // that has not begun; nil when nobody waits
}

type round struct {
	done chan struct{}
	err  error
}

func (r *refresher) do(ctx context.Context, run func(context.Context) error) error {
	r.mu.Lock()
	mine := r.next
	first := mine == nil
	if first {
		mine = &round{done: make(chan struct{})}
		r.next = mine
	}
	r.mu.Unlock()
	if !first {
		select {
		case <-mine.done:
			return mine.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.running.Lock()
	defer r.running.Unlock()
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	// The others must not fail because one has left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
	defer cancel()
	mine.err = run(ctx)
	close(mine.done)
	return mine.err
}

// Loaded reports whether lists are in memory; until then pages take longer.
func (f *Feeds) Loaded() bool { return f.lists.Load() != nil }
