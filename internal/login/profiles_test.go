package login_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// S34 and S39: when a session is updated, what is shown of its account is
// looked up again; while nobody can tell, the old name stays.
func TestHandlesFollowWhenSessionsAreUpdated(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		b.signIn("alice.example")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()

		i.dir.add(alice, "renamed.example", i.pds.URL)
		i.updated(b)
		i.shows(b, "renamed.example")
		i.dir.fail(alice, errors.New("directory is down"))
		i.updated(b)
		i.shows(b, "renamed.example")
		i.dir.fail(alice, nil)
		i.dir.add(alice, syntax.HandleInvalid, i.pds.URL)
		i.updated(b)
		i.shows(b, "")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
}

// S40: who signs in, or renews a session, is met, so that changes of the account
// are heard of; a failure is made up for by the next time.
func TestMembersAreMet(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	met := make(chan syntax.DID)
	answers := make(chan error)
	service, err := login.New(login.Config{
		Client: i.client, Attempts: i.attempts, Sessions: i.sessions, Directory: i.dir, Cookies: i.cookies,
		Origin: origin, Logger: slog.New(slog.DiscardHandler), Now: i.clock.now,
		Meet: func(_ context.Context, did syntax.DID) error { met <- did; return <-answers },
	})
	i.must(err)
	i.Service = service
	b := i.browser()
	b.signIn("alice.example") // before anybody runs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	is := func(want syntax.DID, answer error) {
		t.Helper()
		if did := <-met; did != want {
			t.Errorf("met %s, want %s", did, want)
		}
		answers <- answer
	}
	is(alice, errors.New("no room"))
	b.signIn("bob.example")
	is(bob, nil)
	data, err := i.sessions.Get(t.Context(), b.account().SessionID)
	i.must(err)
	i.clock.advance(time.Second)
	data.RefreshedAt = i.clock.now()
	i.must(i.sessions.Save(t.Context(), data))
	is(bob, nil)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil when its context ends", err)
	}
}

// updated saves new tokens for the browser's session until Run has looked its
// account up twice: what the first look found is shown by then.
func (i *instance) updated(b *browser) {
	i.t.Helper()
	d, _, err := i.sessions.Device(i.t.Context(), b.token())
	i.must(err)
	current, _ := d.Current()
	began := i.dir.count()
	for deadline := time.Now().Add(2 * time.Minute); i.dir.count() < began+2; {
		if time.Now().After(deadline) {
			i.t.Fatal("nobody looked the account up")
		}
		data, err := i.sessions.Get(i.t.Context(), current.SessionID)
		i.must(err)
		i.clock.advance(time.Second)
		data.RefreshedAt = i.clock.now()
		i.must(i.sessions.Save(i.t.Context(), data))
		runtime.Gosched()
	}
}

func (i *instance) shows(b *browser, want syntax.Handle) {
	i.t.Helper()
	d, _, err := i.sessions.Device(i.t.Context(), b.token())
	i.must(err)
	if current, _ := d.Current(); current.Handle != want {
		i.t.Errorf("shown as %q, want %q", current.Handle, want)
	}
}

func (d *directory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looked
}

func (d *directory) fail(did syntax.DID, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs[did.AtIdentifier()] = err
}
