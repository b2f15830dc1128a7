package login_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// wide is a limit that tests of other things don't meet.
var wide = httpserver.LimiterConfig{Every: time.Microsecond, Burst: 100_000}

const mobile = "social.coves:/callback"

// desk is an instance that signs apps in, and one of its processes.
type desk struct {
	*instance
	handOffs *login.HandOffs
	apps     *session.Apps
}

func newDesk(t *testing.T, db *store.DB) *desk {
	t.Helper()
	return newInstance(t, db).desk(wide, 0)
}

// desk is another process with the same storage.
func (i *instance) desk(limit httpserver.LimiterConfig, pending int) *desk {
	i.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	keys, err := session.NewTokenKeys(session.KeysConfig{DB: i.db, Ring: i.ring, Logger: logger, Now: i.clock.now})
	i.must(err)
	i.must(keys.Ensure(i.t.Context()))
	apps, err := session.NewApps(session.AppsConfig{Manager: i.sessions, Keys: keys, Issuer: origin})
	i.must(err)
	handOffs, err := login.NewHandOffs(login.HandOffsConfig{DB: i.db, Apps: apps, Origin: origin, MaxPending: pending, Limit: limit,
		Redirects: []string{mobile}, Logger: logger, Now: i.clock.now})
	i.must(err)
	other := *i
	other.Service, err = login.New(login.Config{
		Client: i.client, Attempts: i.attempts, Sessions: i.sessions, Directory: i.dir, Cookies: i.cookies, HandOffs: handOffs,
		Origin: origin, Limit: wide, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: i.clock.now,
	})
	i.must(err)
	return &desk{instance: &other, handOffs: handOffs, apps: apps}
}

// app is a program that signs somebody in.
type app struct {
	login.Initiated
	d *desk
}

func (d *desk) app(identifier string) *app {
	d.t.Helper()
	out, err := d.handOffs.Initiate(d.t.Context(), login.Initiate{Identifier: identifier, Name: "Reader", LoopbackPort: 40123,
		Addr: netip.MustParseAddr("198.51.100.9")})
	d.must(err)
	return &app{out, d}
}

func (a *app) collector() login.Collector { return login.Collector{ID: a.ID, Secret: a.Secret} }

var errEnough = errors.New("enough")

// stage asks how things stand and hangs up.
func (a *app) stage(d *desk) (string, error) {
	a.d.t.Helper()
	stage := "done"
	_, err := d.handOffs.Await(d.t.Context(), a.collector(), func(w login.Waiting) error {
		switch {
		case w.CodeWanted:
			stage = "code_wanted"
		case w.Opened:
			stage = "opened"
		default:
			stage = "initiated"
		}
		if w.Code != a.Code || !w.ExpiresAt.Equal(a.ExpiresAt) {
			d.t.Errorf("waiting with code %s until %v, want %s and %v", w.Code, w.ExpiresAt, a.Code, a.ExpiresAt)
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return stage, err
}

// waiter is an open stream.
type waiter struct {
	stage  chan login.Waiting
	result chan collected
}

type collected struct {
	grant session.AppGrant
	err   error
}

// await waits at a process until the end.
func (a *app) await(ctx context.Context, d *desk) *waiter {
	w := &waiter{make(chan login.Waiting, 100), make(chan collected, 1)}
	go func() {
		grant, err := d.handOffs.Await(ctx, a.collector(), func(s login.Waiting) error { w.stage <- s; return nil })
		w.result <- collected{grant, err}
	}()
	return w
}

// open brings the browser to the member's server.
func (d *desk) open(b *browser, id string) string {
	d.t.Helper()
	started, err := d.OpenApp(d.t.Context(), login.OpenApp{ID: id, Addr: b.addr, Cookies: b.sent()})
	d.must(err)
	b.set(started.Cookies)
	return started.URL
}

// arrive brings the browser to the page that asks for the code.
func (d *desk) arrive(b *browser, id string) {
	d.t.Helper()
	out, err := d.comeBack(b, d.pds.approve(d.open(b, id)))
	if err != nil || out.Result != login.SignedIn || out.App != id || out.ReturnTo != login.ApprovePath(id) {
		d.t.Fatalf("callback = %+v, %v; want the page of the app's sign-in", out, err)
	}
}

func (d *desk) comeBack(b *browser, q url.Values) (login.Outcome, error) {
	out, err := d.Callback(d.t.Context(), login.Callback{Query: q, Cookies: b.sent(), Token: b.token(), Addr: b.addr, UserAgent: "x"})
	b.set(out.Cookies)
	return out, err
}

func ended(t *testing.T, what string, err error, state login.HandOffState) {
	t.Helper()
	var end *login.EndedError
	if !errors.As(err, &end) || end.State != state {
		t.Errorf("%s = %v, want ended as %s", what, err, state)
	}
}

// untilCodeWanted passes over what comes before; changes close together come as one.
func (w *waiter) untilCodeWanted() {
	for s := range w.stage {
		if s.CodeWanted {
			return
		}
	}
}
