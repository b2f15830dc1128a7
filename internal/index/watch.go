package index

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/atoll-social/atoll/internal/store"
)

// watchers are those in this process who want to know when the index changes.
type watchers struct {
	mu   sync.Mutex
	list []chan struct{}
	// own is for who tells other processes; commits counts what it is told.
	own     chan struct{}
	commits atomic.Int64
}

// Commits counts the transactions by which this process has changed the index. It
// has grown when whoever made one hears that it is committed.
func (x *Index) Commits() int64 { return x.watchers.commits.Load() }

// Watch returns a channel that gets a value soon after the index has changed,
// until ctx ends. Several changes may give one. While Run runs it is told what
// other processes change, too; a change may be lost when the connection for that
// breaks, so whoever watches asks Changes after some Patience.
func (x *Index) Watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	x.watchers.mu.Lock()
	defer x.watchers.mu.Unlock()
	x.watchers.list = append(x.watchers.list, c)
	context.AfterFunc(ctx, func() {
		x.watchers.mu.Lock()
		defer x.watchers.mu.Unlock()
		x.watchers.list = slices.DeleteFunc(x.watchers.list, func(o chan struct{}) bool { return o == c })
	})
	return c
}

// wake tells that this process has changed the index.
func (w *watchers) wake() {
	w.commits.Add(1)
	nudge(w.own)
	w.hear()
}

// hear tells that somebody has.
func (w *watchers) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.list {
		nudge(c)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has not looked since the last one
	}
}

// tick takes the next number for a transaction that changes what is shown but
// moves no post, so that whoever keeps what was shown knows that it is over.
// It waits for its turn like everybody who writes here. which is a condition
// that the accounts meet of which something is shown otherwise then.
func (x *Index) tick(ctx context.Context, tx *store.Tx, which string, args ...any) error {
	var t Trace
	err := tx.QueryRowContext(ctx, `UPDATE index_clock SET seq = seq + 1 WHERE id = 1 RETURNING seq`).Scan(&t.Seq)
	if err != nil {
		return err
	}
	tx.AfterCommit(func() {
		x.memory.pass(t.Seq)
		x.watchers.wake()
	})
	//nolint:sqlclosecheck // each closes the rows
	rows, err := tx.QueryContext(ctx, `SELECT id FROM account WHERE `+which+` ORDER BY id`, args...)
	if err != nil {
		return err
	}
	err = each(rows, func() error {
		var id int64
		err := rows.Scan(&id)
		t.Accounts = append(t.Accounts, id)
		return err
	})
	if err != nil {
		return err
	}
	return writeTrace(ctx, tx, store.Micros(x.now()), t)
}
