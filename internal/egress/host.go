package egress

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// HostLimits bound what one host may hold up. A zero field takes its default.
type HostLimits struct {
	// InFlight is how many requests to one host run at once; default 64.
	// Streams (Limits.Timeout zero) count until their headers are there.
	InFlight int
	// Wait is how long a request waits for its turn before ErrHostBusy;
	// default 5 s.
	Wait time.Duration
	// Failures is how many in a row, each within a minute of the one before,
	// make a host count as down; default 5. Only failures to connect or to
	// answer count: an error status is an answer.
	Failures int
	// Pause is how long a host that is down is left alone before one request
	// tries it; default 2 s. It doubles with every failed try up to MaxPause,
	// default 1 min.
	Pause, MaxPause time.Duration
	// Remembered is how many hosts are known at once; default 4,096. Those
	// used least recently are forgotten.
	Remembered int
}

func (l HostLimits) withDefaults() (HostLimits, error) {
	if l.InFlight < 0 || l.Wait < 0 || l.Failures < 0 || l.Pause < 0 || l.MaxPause < 0 || l.Remembered < 0 {
		return l, errors.New("egress: limits per host must not be negative")
	}
	setDefault(&l.InFlight, 64)
	setDefault(&l.Wait, 5*time.Second)
	setDefault(&l.Failures, 5)
	setDefault(&l.Pause, 2*time.Second)
	setDefault(&l.MaxPause, time.Minute)
	setDefault(&l.Remembered, 4096)
	return l, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// failureWindow is how near failures must be to count as "in a row".
const failureWindow = time.Minute

// outcome is what a request said about its host.
type outcome int

const (
	alive    outcome = iota // it answered
	failed                  // it did not
	unproven                // the request ended for another reason
)

func outcomeOf(err error) outcome {
	var blocked *BlockedError
	switch {
	case err == nil, errors.Is(err, ErrTooLarge):
		return alive
	case errors.As(err, &blocked), errors.Is(err, ErrPlainHTTP), errors.Is(err, ErrBadURL),
		errors.Is(err, context.Canceled):
		return unproven
	}
	return failed
}

// hosts remembers a bounded number of hosts, each with its own places and
// circuit breaker. Nothing is shared between two hosts but this map.
type hosts struct {
	limits HostLimits
	mu     sync.Mutex
	byName map[string]*host
	recent *list.List // of *host, last used first
}

func newHosts(limits HostLimits) *hosts {
	return &hosts{limits: limits, byName: map[string]*host{}, recent: list.New()}
}

// host is what is known about one server.
type host struct {
	name    string
	limits  HostLimits
	places  chan struct{}
	element *list.Element
	users   int // requests inside enter or running; guarded by hosts.mu

	mu       sync.Mutex
	failures int           // in a row
	lastFail time.Time     //
	pause    time.Duration // of the present outage; zero while it is up
	until    time.Time     // not asked before; zero while it is up
	probing  bool          // one request is trying a host that was down
}

// enter waits for a place at the named host, at most limits.Wait. The caller
// calls done once with what the request showed. Errors: *DownError at once,
// ErrHostBusy, or that of ctx.
func (hs *hosts) enter(ctx context.Context, name string) (done func(outcome), err error) {
	h := hs.use(name)
	if err := h.wait(ctx); err != nil {
		hs.leave(h)
		return nil, err
	}
	probe, err := h.admit(time.Now())
	if err != nil {
		<-h.places
		hs.leave(h)
		return nil, err
	}
	return func(o outcome) {
		h.report(time.Now(), o, probe)
		<-h.places
		hs.leave(h)
	}, nil
}

// wait takes a place. A host that is known to be down lets nobody wait.
func (h *host) wait(ctx context.Context) error {
	if err := h.down(time.Now()); err != nil {
		return err
	}
	select {
	case h.places <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(h.limits.Wait)
	defer timer.Stop()
	select {
	case h.places <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: %s", ErrHostBusy, h.name)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (hs *hosts) use(name string) *host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.byName[name]
	if !ok {
		h = &host{name: name, limits: hs.limits, places: make(chan struct{}, hs.limits.InFlight)}
		h.element = hs.recent.PushFront(h)
		hs.byName[name] = h
	}
	h.users++
	hs.recent.MoveToFront(h.element)
	hs.forget()
	return h
}

// forget drops the hosts used least recently. One that holds requests stays
// where it is; there are never more of those than requests.
func (hs *hosts) forget() {
	for e := hs.recent.Back(); e != nil && len(hs.byName) > hs.limits.Remembered; {
		h, before := e.Value.(*host), e.Prev()
		if h.users == 0 {
			hs.recent.Remove(e)
			delete(hs.byName, h.name)
		}
		e = before
	}
}

func (hs *hosts) leave(h *host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.users--
}

// down returns a *DownError while the host is left alone.
func (h *host) down(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.downLocked(now)
}

func (h *host) downLocked(now time.Time) error {
	if h.until.IsZero() || (!h.probing && !now.Before(h.until)) {
		return nil
	}
	return &DownError{Host: h.name, RetryAfter: max(0, h.until.Sub(now))}
}

// admit lets a request through. After an outage the first one is a probe, and
// the others wait for what it finds.
func (h *host) admit(now time.Time) (probe bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.downLocked(now); err != nil {
		return false, err
	}
	if !h.until.IsZero() {
		h.probing = true
		return true, nil
	}
	return false, nil
}

// report takes what a request showed.
func (h *host) report(now time.Time, o outcome, probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if probe {
		h.probing = false
	}
	switch o {
	case alive:
		h.failures, h.pause, h.until = 0, 0, time.Time{}
	case failed:
		h.fail(now, probe)
	case unproven: // the next request is as good a probe as this one
	}
}

func (h *host) fail(now time.Time, probe bool) {
	if !h.until.IsZero() && !probe {
		return // it began before the outage was known
	}
	if now.Sub(h.lastFail) > failureWindow {
		h.failures = 0
	}
	h.failures++
	h.lastFail = now
	if probe || h.failures >= h.limits.Failures {
		h.pause = min(max(2*h.pause, h.limits.Pause), h.limits.MaxPause)
		h.until = now.Add(h.pause)
	}
}
