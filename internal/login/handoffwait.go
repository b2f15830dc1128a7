package login

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// heartbeat is how often somebody who waits is told that nothing has changed,
	// so that no proxy takes the connection for dead.
	heartbeat = 20 * time.Second
	// pollEvery is how often a process with waiters looks for what others did.
	pollEvery = 500 * time.Millisecond
	// pollBack is how far the clocks of processes may be apart for that.
	pollBack = 10 * time.Second
	// Bounds of those who wait at one process.
	maxWaiters    = 10_000
	maxWaitersFor = 8
)

// Collector is an app that shows the secret of a sign-in.
type Collector struct {
	ID     string
	Secret keyring.Secret
	Addr   netip.Addr
}

// Waiting is what an app is told while nothing is decided.
type Waiting struct {
	Opened     bool // the browser is, or was, at the member's server
	CodeWanted bool // the member is asked for the code
	Code       string
	ExpiresAt  time.Time
}

var (
	// ErrStopping says that this process stops; the same call works at the next.
	ErrStopping = fault.New(fault.Unavailable, "This server is restarting. Ask again.").WithCode("Retry").After(time.Second)
	errCrowded  = fault.New(fault.Limited, "Too many are waiting for this sign-in. Ask again in a moment.").WithCode("RateLimitExceeded").After(5 * time.Second)
	// ErrNotDelivered says that there is nothing to acknowledge yet.
	ErrNotDelivered = fault.New(fault.Conflict, "Nothing has been delivered for this sign-in so far.")
)

// Await waits until the sign-in is decided and returns the session that the app
// has then; tell is called with how things stand, at once, with every change and
// now and then. Errors: what tell returned; *EndedError; ErrStopping; not found,
// when there is no such sign-in or the secret is not its own; those of ctx.
func (h *HandOffs) Await(ctx context.Context, c Collector, tell func(Waiting) error) (session.AppGrant, error) {
	if _, err := h.authorize(ctx, c); err != nil {
		return session.AppGrant{}, err
	}
	news, done, err := h.waiters.join(c.ID)
	if err != nil {
		return session.AppGrant{}, err
	}
	defer done()
	for {
		r, err := h.authorize(ctx, c)
		if err != nil {
			return session.AppGrant{}, err
		}
		now := h.now()
		switch state := r.at(now); {
		case state == stateApproved:
			return h.deliver(ctx, c)
		case state.over():
			return session.AppGrant{}, &EndedError{State: state}
		}
		err = tell(Waiting{Opened: r.state == stateOpened, CodeWanted: r.state == stateCodeWanted,
			Code: codeOf(c.Secret, c.ID), ExpiresAt: r.expires})
		if err != nil {
			return session.AppGrant{}, err
		}
		if err := h.pause(ctx, news, min(heartbeat, r.expires.Sub(now))); err != nil {
			return session.AppGrant{}, err
		}
	}
}

// pause returns when there is news, or when at most d has passed.
func (h *HandOffs) pause(ctx context.Context, news <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.stopping:
		return ErrStopping
	case <-news:
	case <-timer.C:
	}
	return nil
}

// authorize reads the sign-in whose secret c shows. Wrong secrets are limited by
// address; right ones never are.
func (h *HandOffs) authorize(ctx context.Context, c Collector) (handOff, error) {
	r, err := h.read(ctx, c.ID)
	if err == nil && holds(r.secretHash, c.Secret.Reveal()) {
		return r, nil
	}
	if err != nil && !errors.Is(err, errNoHandOff) {
		return handOff{}, err
	}
	if err := h.guesses.Spend(c.Addr); err != nil {
		return handOff{}, err
	}
	return handOff{}, errNoHandOff
}

// deliver gives out the session. The first secret is made of the app's and of a
// salt that is forgotten once the app has acknowledged: everybody who holds the
// collection secret gets the same, and afterwards nobody anything.
func (h *HandOffs) deliver(ctx context.Context, c Collector) (session.AppGrant, error) {
	fresh := make([]byte, 32)
	rand.Read(fresh) // never fails
	var r handOff
	err := h.change(ctx, c.ID, func(row handOff, now time.Time) (string, []any, error) {
		if state := row.at(now); state != stateApproved {
			return "", nil, &EndedError{State: state}
		}
		if r = row; r.salt != nil {
			return "", nil, nil
		}
		r.salt = fresh
		return `salt = $1`, []any{fresh}, nil
	})
	if err != nil {
		return session.AppGrant{}, err
	}
	grant, err := h.cfg.Apps.Collect(ctx, r.session, session.DeriveAppSecret(c.Secret, r.salt))
	if errors.Is(err, session.ErrAppOver) {
		// The app has used its session, which is as good as an acknowledgement, or it was ended.
		return session.AppGrant{}, &EndedError{State: StateDelivered}
	}
	return grant, err
}

// Acknowledge ends delivery: from now on the secret yields nothing. Repeating it
// is no error. Errors: ErrNotDelivered, *EndedError, not found.
func (h *HandOffs) Acknowledge(ctx context.Context, c Collector) error {
	if _, err := h.authorize(ctx, c); err != nil {
		return err
	}
	return h.change(ctx, c.ID, func(r handOff, now time.Time) (string, []any, error) {
		switch state := r.at(now); {
		case r.state == StateDelivered:
			return "", nil, nil
		case r.state == stateApproved && r.salt != nil:
			return `state = $1, salt = NULL`, []any{string(StateDelivered)}, nil
		case state.over():
			return "", nil, &EndedError{State: state}
		}
		return "", nil, ErrNotDelivered
	})
}

// Cancel gives a sign-in up. One that has been delivered, or is over otherwise,
// is left alone. Error: not found.
func (h *HandOffs) Cancel(ctx context.Context, c Collector) error {
	if _, err := h.authorize(ctx, c); err != nil {
		return err
	}
	return h.finish(ctx, c.ID, StateCancelled)
}

// Confirm approves a sign-in with the proof that the browser has brought to the
// app's loopback address. Errors: not found, also for a wrong proof; *EndedError.
func (h *HandOffs) Confirm(ctx context.Context, c Collector, proof string) error {
	r, err := h.authorize(ctx, c)
	if err != nil {
		return err
	}
	if !holds(r.proofHash, proof) {
		if err := h.guesses.Spend(c.Addr); err != nil {
			return err
		}
		return errNoHandOff
	}
	return h.change(ctx, c.ID, func(r handOff, now time.Time) (string, []any, error) {
		switch state := r.at(now); {
		case state == stateApproved:
			return "", nil, nil
		case state != stateCodeWanted || !holds(r.proofHash, proof):
			return "", nil, &EndedError{State: state}
		}
		return approved, []any{string(stateApproved)}, nil
	})
}

// approved is what an approval changes: the browser has nothing to say any more.
const approved = `state = $1, approver_hash = NULL, proof_hash = NULL`

// finish ends a sign-in that has not ended or begun to be delivered, and the
// session that may wait for it. Only is the state that it must be in, if any.
func (h *HandOffs) finish(ctx context.Context, id string, how HandOffState, only ...HandOffState) error {
	var waiting string
	err := h.change(ctx, id, func(r handOff, now time.Time) (string, []any, error) {
		if r.at(now).over() || r.salt != nil || len(only) > 0 && !slices.Contains(only, r.state) {
			return "", nil, nil
		}
		waiting = r.session
		return `state = $1, approver_hash = NULL, proof_hash = NULL`, []any{string(how)}, nil
	})
	if err != nil || waiting == "" {
		return err
	}
	return h.cfg.Apps.Abandon(ctx, waiting)
}

// Run looks for what other processes changed, for those who wait here, until ctx
// ends. Trouble is logged: who waits is told with the next heartbeat anyway.
func (h *HandOffs) Run(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if h.waiters.none() {
			continue
		}
		if err := h.poll(ctx); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "changes of other processes not seen", "error", err)
		}
	}
}

// poll is one query, however many wait.
func (h *HandOffs) poll(ctx context.Context) error {
	rows, err := h.cfg.DB.Read().QueryContext(ctx, `SELECT id, changed_at FROM app_login WHERE changed_at > $1 AND state <> 'initiated'`,
		store.Micros(h.now().Add(-pollBack)))
	if err != nil {
		return fmt.Errorf("look for sign-ins of apps: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var changed int64
		if err := rows.Scan(&id, &changed); err != nil {
			return fmt.Errorf("look for sign-ins of apps: %w", err)
		}
		h.waiters.changed(id, changed)
	}
	return rows.Err()
}

// Serve lasts as long as the listeners: when ctx ends, everybody who waits is
// told to ask again, so that the stop is not held up.
func (h *HandOffs) Serve(ctx context.Context) error {
	<-ctx.Done()
	close(h.stopping)
	return nil
}

// waiters are those who wait in this process.
type waiters struct {
	mu    sync.Mutex
	total int
	byID  map[string]*watch
}

// watch is a sign-in that somebody waits for.
type watch struct {
	seen  int64 // the last change that they were woken for
	chans map[chan struct{}]struct{}
}

// join adds a waiter. News may come for nothing; done must be called.
func (w *waiters) join(id string) (news <-chan struct{}, done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = map[string]*watch{}
	}
	one := w.byID[id]
	if one == nil {
		one = &watch{chans: map[chan struct{}]struct{}{}}
	}
	if w.total >= maxWaiters || len(one.chans) >= maxWaitersFor {
		return nil, nil, errCrowded
	}
	ch := make(chan struct{}, 1)
	one.chans[ch] = struct{}{}
	w.byID[id], w.total = one, w.total+1
	return ch, func() { w.leave(id, ch) }, nil
}

func (w *waiters) leave(id string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.byID[id]
	delete(one.chans, ch)
	w.total--
	if len(one.chans) == 0 {
		delete(w.byID, id)
	}
}

func (w *waiters) none() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total == 0
}

// wake tells everybody who waits for a sign-in.
func (w *waiters) wake(id string) { w.changed(id, 0) }

// changed wakes for a change that is not known yet; 0 is always news.
func (w *waiters) changed(id string, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.byID[id]
	if one == nil || at != 0 && one.seen == at {
		return
	}
	if at != 0 {
		one.seen = at
	}
	for ch := range one.chans {
		select {
		case ch <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}
