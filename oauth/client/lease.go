package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Times of the lease under which one holder refreshes a session.
const (
	leaseLife = 45 * time.Second // from the last sign of life
	leaseBeat = 10 * time.Second // between two signs of life
	callLife  = 20 * time.Second // a refresh request, all repetitions included
	leastCall = 5 * time.Second  // with less left the request is not begun
	waitLimit = 60 * time.Second // for somebody else's refresh
	saveLife  = 10 * time.Second // one access to the store

	// A lease that ran out by our clock may be that of a living holder whose
	// clock is behind. It is taken over when nothing was heard of the holder for
	// leaseQuiet, or when it ran out so long ago that no clock explains it.
	leaseQuiet = 15 * time.Second
	clockSlack = 5 * time.Minute

	pollFirst = 50 * time.Millisecond
	pollMost  = time.Second
)

var (
	errLeased    = errors.New("somebody else is refreshing the session")
	errLeaseLost = errors.New("the lease went to somebody else")
)

// watch is what a waiting process has seen of a session's row.
type watch struct {
	version int64
	since   time.Time // when the version was first seen; our own monotonic clock
}

// see notes a reading of the row and returns for how long it has not changed.
func (w *watch) see(d *SessionData) time.Duration {
	if w.since.IsZero() || w.version != d.Version {
		w.version, w.since = d.Version, time.Now()
	}
	return time.Since(w.since)
}

// free reports whether the lease in d may be taken, where the row has not
// changed for quiet; otherwise it returns when that may be.
func free(d *SessionData, now time.Time, quiet time.Duration) (until time.Time, ok bool) {
	until = d.SentUntil // an answer may be on its way, whoever waits for it
	if d.LeaseOwner != "" && d.LeaseUntil.After(until) {
		until = d.LeaseUntil
	}
	switch left := until.Sub(now); {
	case d.LeaseOwner == "" && left <= 0:
		return until, true
	case left > 0:
		// A living holder shows itself every leaseBeat. One that does not is
		// gone, and its clock was ahead of ours.
		return until, quiet >= leaseLife
	case -left > clockSlack:
		return until, true
	}
	return until, quiet >= leaseQuiet
}

// acquire takes the lease in d, which must be free, by a save that compares the
// version. ErrConflict: somebody was faster.
func (c *Client) acquire(ctx context.Context, d *SessionData) (*holder, error) {
	h := &holder{c: c, owner: randomID(12), data: d, unanswered: !d.SentUntil.IsZero(), stop: make(chan struct{}), turn: make(chan struct{}, 1)}
	h.yield()
	err := h.save(ctx, func(d *SessionData) { d.LeaseOwner, d.LeaseUntil = h.owner, c.now().Add(leaseLife) })
	if err != nil {
		return nil, err
	}
	// The beats go on until stop, whatever becomes of the context.
	h.beats.Go(func() { h.beat(context.WithoutCancel(ctx)) })
	return h, nil
}

// holder is a lease that was taken, and the row as it was last written under it.
type holder struct {
	c     *Client
	owner string
	// unanswered: a refresh was sent before, by this or another process, and
	// its answer was never saved. The refresh token may be used up.
	unanswered bool

	stop  chan struct{}
	beats sync.WaitGroup

	turn chan struct{} // holds one value: who has taken it may write the row
	data *SessionData
	lost error
}

func (h *holder) yield() { h.turn <- struct{}{} }

// current returns a copy of the row.
func (h *holder) current() *SessionData {
	<-h.turn
	defer h.yield()
	return h.data.Clone()
}

// save writes the row with a change. A conflict is looked into: where the row
// is still ours, an earlier save of ours was written although it failed, and the
// change is made upon it. Otherwise the lease is lost: errLeaseLost, ErrNotFound.
func (h *holder) save(ctx context.Context, change func(*SessionData)) error {
	<-h.turn
	defer h.yield()
	if h.lost != nil {
		return h.lost
	}
	err := h.write(ctx, change)
	if !errors.Is(err, ErrConflict) || h.data.LeaseOwner != h.owner {
		return err // the lease was not ours before
	}
	row, err := h.c.read(ctx, h.data.ID)
	switch {
	case err != nil:
		return err
	case row.LeaseOwner != h.owner:
		h.lost = errLeaseLost
		return h.lost
	}
	h.data = row
	return h.write(ctx, change)
}

func (h *holder) write(ctx context.Context, change func(*SessionData)) error {
	next := h.data.Clone()
	change(next)
	if err := h.c.write(ctx, next); err != nil {
		return err
	}
	h.data = next
	return nil
}

// retake goes on from a row whose lease is somebody else's, to save tokens in
// spite of that. The comparison of the version still keeps newer ones safe.
func (h *holder) retake(row *SessionData) {
	<-h.turn
	defer h.yield()
	h.data, h.lost = row, nil
}

// beat shows every leaseBeat that the holder lives.
func (h *holder) beat(ctx context.Context) {
	ticker := time.NewTicker(leaseBeat)
	defer ticker.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-ticker.C:
		}
		err := h.extend(ctx)
		if err != nil {
			h.c.log.WarnContext(ctx, "lease of a session not extended", "session", h.data.ID, "error", err)
		}
		if errors.Is(err, errLeaseLost) || errors.Is(err, ErrNotFound) {
			return
		}
	}
}

// extend renews the lease, unless it was given back or lost.
func (h *holder) extend(ctx context.Context) error {
	if h.current().LeaseOwner != h.owner {
		return nil
	}
	return h.save(ctx, func(d *SessionData) { d.LeaseUntil = h.c.now().Add(leaseLife) })
}

// end stops the beats; nothing is written any more. It may be called twice.
func (h *holder) end() {
	select {
	case <-h.stop:
	default:
		close(h.stop)
	}
	h.beats.Wait()
}

// release gives the lease back. answered says that no request is out whose
// answer could still matter; otherwise the row keeps the trace of it, which the
// next holder has to know of.
func (h *holder) release(ctx context.Context, answered bool) {
	h.end()
	err := h.save(ctx, func(d *SessionData) {
		d.LeaseOwner, d.LeaseUntil = "", time.Time{}
		if answered {
			d.SentUntil = time.Time{}
		}
	})
	if err != nil {
		h.c.log.WarnContext(ctx, "lease of a session not given back", "session", h.data.ID, "error", err)
	}
}

// mark writes into the row that a request will be out for callLife from now, and
// extends the lease beyond that.
func (h *holder) mark(ctx context.Context) error {
	for range 3 { // a store may be so slow that the time is over before it begins
		err := h.save(ctx, func(d *SessionData) {
			now := h.c.now()
			d.SentUntil, d.LeaseUntil = now.Add(callLife), now.Add(leaseLife)
		})
		if err == nil {
			err = h.verify(ctx)
		}
		if err != nil {
			return err
		}
		if h.left() >= leastCall {
			return nil
		}
	}
	return fmt.Errorf("%w: the store is too slow to hold a lease", ErrStore)
}

// verify reads what was written: a store that does not keep what it is told, or
// answers with an older state, is found out before a refresh token is sent.
func (h *holder) verify(ctx context.Context) error {
	wrote := h.current()
	row, err := h.c.read(ctx, wrote.ID)
	switch {
	case err != nil:
		return err
	case row.Version < wrote.Version:
		return fmt.Errorf("session %s: %w: it has saved version %d and answers with %d", wrote.ID, ErrStore, wrote.Version, row.Version)
	case row.LeaseOwner != h.owner:
		return errLeaseLost
	case row.RefreshToken != wrote.RefreshToken || row.SentUntil.IsZero():
		return fmt.Errorf("session %s: %w: it answers with something else than it has saved", wrote.ID, ErrStore)
	}
	return nil
}

// left returns how much of the time that was marked remains, by the wall clock.
// A clock that was set back does not lengthen it.
func (h *holder) left() time.Duration {
	<-h.turn
	defer h.yield()
	return min(h.data.SentUntil.Sub(h.c.now()), callLife)
}

// maySend is asked directly before each sending of a refresh token.
func (h *holder) maySend() error {
	<-h.turn
	defer h.yield()
	now := h.c.now()
	switch {
	case h.lost != nil:
		return h.lost
	case !now.Before(h.data.SentUntil), !now.Before(h.data.LeaseUntil):
		return errLeaseLost
	}
	return nil
}

// poll is the rhythm of a waiting process: from pollFirst to pollMost, a
// quarter more or less, so that waiting processes don't march in step.
type poll struct{ next time.Duration }

// wait returns after the next pause, or when wake says that the row has changed.
func (p *poll) wait(ctx context.Context, wake <-chan struct{}) error {
	p.next = min(max(p.next*8/5, pollFirst), pollMost)
	timer := time.NewTimer(time.Duration(float64(p.next) * (0.75 + 0.5*rand.Float64())))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-timer.C:
	}
	return nil
}
