package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
	"github.com/atoll-social/atoll/test/size"
)

// step is one thing that happens to a session; who is the process it happens in.
type step struct {
	do  string
	who int
}

var stepNames = []string{
	"use", "use", "use", "storm", "refresh", "soon", "expire", "minutes", "hours", "restart",
	"lose answer", "stumble", "stumble after", "save fails", "save fails for good",
	"die sending", "die sent", "die saving", "revoke",
}

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(stepNames).Draw(t, "step"), rapid.IntRange(0, 1).Draw(t, "process")}
	}), 1, 25)
}

// TestAnyInterleaving of use, refresh, expiry, restart, revocation, faults and
// deaths, with two processes on one store. The model is short: a session lives
// unless its server has revoked it, or has given out tokens that were never
// saved and takes no refresh token twice. It ends as what happened, and nothing
// else ends it.
func TestAnyInterleaving(t *testing.T) {
	t.Parallel()
	for range size.Size(3, 100) { // rapid makes a hundred runs at a time
		rapid.Check(t, func(rt *rapid.T) {
			plan, grace := steps().Draw(rt, "steps"), rapid.Bool().Draw(rt, "graceful server")
			var err error
			synctest.Test(t, func(t *testing.T) { err = interleave(t, plan, grace) })
			if err != nil {
				rt.Fatal(err)
			}
		})
	}
}

// world is a session, what happens to it, and what the model knows.
type world struct {
	*fixture
	id        string
	processes [2]*mortal

	mu      sync.Mutex // for what follows, and for the processes' own
	fault   string     // of the next refresh
	revoked bool
	lost    bool // tokens were given out and not saved
	unclear bool // a request was out whose answer nobody has: a later refusal counts as loss
	forGood bool // a process could save no tokens, so that it ended the session
	atOnce  int
	broken  error
}

// mortal is a process: once it is dead nothing that it does has an effect.
type mortal struct {
	*client.Client
	dead    bool
	dieAt   string
	failing int // saves of rotated tokens that fail from now on
}

var errDead = errors.New("the process is dead")

func interleave(t *testing.T, plan []step, grace bool) error {
	w := &world{fixture: fixtureOn(t, hostile.NewDirect(), nil)}
	if grace {
		w.net.Grace = 1000 * time.Hour
	}
	w.id = w.signIn(t).ID
	w.net.Override(tokenURL, w.token)
	w.boot(t, 0)
	w.boot(t, 1)
	for _, s := range plan {
		if err := w.step(t, s); err != nil {
			return fmt.Errorf("%s in process %d: %w", s.do, s.who, err)
		}
	}
	return w.judge(t, grace)
}

func (w *world) boot(t *testing.T, who int) {
	if old := w.processes[who]; old != nil {
		w.set(func() { old.dead = true })
	}
	m := &mortal{}
	store := &watchedStore{SessionStore: w.sessions}
	store.get = func(ctx context.Context, id string) (*client.SessionData, error) {
		if w.isDead(m) {
			return nil, errDead
		}
		return w.sessions.Get(ctx, id)
	}
	store.save = func(ctx context.Context, d *client.SessionData) error { return w.save(ctx, m, d) }
	store.remove = func(ctx context.Context, id string, why client.Reason) error {
		if w.isDead(m) {
			return errDead
		}
		return w.sessions.Delete(ctx, id, why)
	}
	m.Client = w.another(t, func(cfg *client.Config) {
		cfg.Sessions, cfg.HTTP = store, &http.Client{Transport: mortalTransport{m, cfg.HTTP.Transport, w}}
	})
	w.processes[who] = m
}

// set changes something under the lock.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) isDead(m *mortal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return m.dead
}

func (w *world) save(ctx context.Context, m *mortal, d *client.SessionData) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	rotated := d.LeaseOwner == "" && d.SentUntil.IsZero() && d.RefreshedAt.Equal(time.Now().UTC())
	if rotated && m.dieAt == "die saving" {
		m.dead = true
		w.lost = true
	}
	switch {
	case m.dead:
		return errDead
	case rotated && m.failing > 0:
		m.failing--
		return errors.New("disk full")
	}
	return w.sessions.Save(ctx, d)
}

type mortalTransport struct {
	m    *mortal
	base http.RoundTripper
	w    *world
}

func (mt mortalTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	m, w, token := mt.m, mt.w, req.URL.Path == "/oauth/token"
	w.set(func() {
		if token && m.dieAt == "die sending" {
			m.dead, w.unclear = true, true
		}
	})
	if w.isDead(m) {
		return nil, errDead
	}
	before := w.net.Rotations()
	resp, err := mt.base.RoundTrip(req)
	w.set(func() {
		if token && m.dieAt == "die sent" && w.net.Rotations() > before {
			m.dead, w.lost = true, true
		}
	})
	if w.isDead(m) {
		return nil, errDead
	}
	return resp, err
}

// token is the token endpoint, with the fault that is planned for it.
func (w *world) token(out http.ResponseWriter, r *http.Request) {
	w.set(func() {
		if w.atOnce++; w.atOnce > 1 {
			w.broken = errors.New("two refresh requests at once")
		}
	})
	defer w.set(func() { w.atOnce-- })
	time.Sleep(700 * time.Millisecond)
	var fault string
	w.set(func() {
		if fault = w.fault; fault == "stumble" {
			w.fault, w.unclear = "", true
		}
	})
	switch {
	case fault == "stumble":
		out.WriteHeader(http.StatusInternalServerError)
		return
	case fault == "":
		w.net.Handle(out, r, nil)
		return
	case !rotated(w.fixture, out, r):
		return
	}
	w.set(func() { w.fault, w.lost = "", true })
	if fault == "lose answer" {
		panic(http.ErrAbortHandler)
	}
	out.WriteHeader(http.StatusInternalServerError)
}

func (w *world) step(t *testing.T, s step) error {
	m := w.processes[s.who]
	switch s.do {
	case "use":
		return w.allowed(m, call(t.Context(), m.Client, w.id))
	case "storm":
		for _, err := range storm([]*client.Client{w.processes[0].Client, w.processes[1].Client}, 5, w.id) {
			if err := w.allowed(nil, err); err != nil {
				return err
			}
		}
	case "refresh":
		_, err := m.Refresh(t.Context(), w.id)
		return w.allowed(m, err)
	case "soon":
		if open, err := m.Session(t.Context(), w.id); err == nil {
			open.RefreshSoon(t.Context())
		}
	case "expire":
		if w.settle(t); w.sessions.Len() > 0 {
			w.expire(t, w.id)
		}
	case "minutes":
		time.Sleep(7 * time.Minute)
	case "hours":
		time.Sleep(3 * time.Hour)
	case "restart":
		w.boot(t, s.who)
	case "lose answer", "stumble", "stumble after":
		w.set(func() { w.fault = s.do })
	case "save fails":
		w.set(func() { m.failing = 3 })
	case "save fails for good":
		w.set(func() { m.failing, w.forGood, w.lost = 1000, true, true }) // perhaps
	case "die sending", "die sent", "die saving":
		w.set(func() { m.dieAt = s.do })
	case "revoke":
		w.net.EndSessions()
		w.set(func() { w.revoked = true })
	}
	return nil
}

// settle waits for what was begun in the background.
func (w *world) settle(t *testing.T) {
	for _, m := range w.processes {
		_ = m.Drain(t.Context())
	}
}

// allowed returns an error that nothing which happened explains.
func (w *world) allowed(m *mortal, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ended *client.EndedError
	switch {
	case w.broken != nil:
		return w.broken
	case err == nil, errors.Is(err, errDead) && (m == nil || m.dead):
		return nil
	case errors.As(err, &ended):
		return w.ending(ended.Reason)
	case errors.Is(err, client.ErrNotFound) && w.sessions.Len() == 0:
		why, _ := w.sessions.Ended(w.id)
		return w.ending(why)
	case errors.Is(err, client.ErrNotRefreshed):
		return nil // the end of the story tells whether it was kept
	}
	return fmt.Errorf("unexplained: %w", err)
}

// ending returns an error for an end that did not happen.
func (w *world) ending(why client.Reason) error {
	if w.revoked && why == client.ReasonRevoked || why == client.ReasonLost && (w.lost || w.revoked && w.unclear) {
		return nil
	}
	return fmt.Errorf("ended as %s; revoked: %v, lost: %v", why, w.revoked, w.lost)
}

// judge takes all faults away and looks what is left.
func (w *world) judge(t *testing.T, grace bool) error {
	w.set(func() { w.fault = "" })
	w.settle(t)
	w.boot(t, 0)
	w.boot(t, 1)
	time.Sleep(3 * time.Hour)
	err := call(t.Context(), w.processes[0].Client, w.id)
	why, gone := w.sessions.Ended(w.id)
	defer w.settle(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.broken != nil:
		return w.broken
	case err == nil:
		if w.revoked {
			return errors.New("a revoked session works")
		}
		return nil
	case gone && slices.Contains([]client.Reason{client.ReasonRevoked, client.ReasonLost}, why):
		if why == client.ReasonLost && grace && !w.revoked {
			// A graceful server lets nothing be lost but what could never be saved.
			if !w.forGood {
				return errors.New("lost at a graceful server")
			}
			return nil
		}
		return w.ending(why)
	}
	return fmt.Errorf("at the end: %w (ended as %q)", err, why)
}
