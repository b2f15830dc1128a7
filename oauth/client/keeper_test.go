package client_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
)

const day = 24 * time.Hour

func (f *fixture) keeper(t testing.TB, cfg client.KeeperConfig) *client.Keeper {
	t.Helper()
	if cfg.Client == nil {
		cfg.Client = f.Client
	}
	if cfg.Store == nil {
		cfg.Store = f.sessions
	}
	k, err := client.NewKeeper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeeperChoosesWhatIsDue: S33.
func TestKeeperChoosesWhatIsDue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(now time.Time, d *client.SessionData)
		want   client.Pass
		ended  client.Reason
	}{
		"fresh": {func(time.Time, *client.SessionData) {}, client.Pass{}, ""},
		"unknown end, a day old": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt = now.Add(-day)
		}, client.Pass{Seen: 1, Renewed: 1}, ""},
		"unknown end, half a day old": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt = now.Add(-day / 2)
		}, client.Pass{}, ""},
		"ends in a month": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt, d.RefreshExpiresAt = now.Add(-60*day), now.Add(30*day)
		}, client.Pass{}, ""},
		"ends in three days": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt, d.RefreshExpiresAt = now.Add(-87*day), now.Add(3*day)
		}, client.Pass{Seen: 1, Renewed: 1}, ""},
		"ends in three days, renewed an hour ago": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt, d.RefreshExpiresAt = now.Add(-time.Hour), now.Add(3*day)
		}, client.Pass{Seen: 1}, ""},
		"lives for two days, young": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt, d.RefreshExpiresAt = now.Add(-day/2), now.Add(day+day/2)
		}, client.Pass{Seen: 1}, ""},
		"lives for two days, old": {func(now time.Time, d *client.SessionData) {
			d.RefreshedAt, d.RefreshExpiresAt = now.Add(-day-day/2), now.Add(day/2)
		}, client.Pass{Seen: 1, Renewed: 1}, ""},
		"unused for 100 days": {func(now time.Time, d *client.SessionData) {
			d.UsedAt = now.Add(-100 * day)
		}, client.Pass{Seen: 1, Idle: 1}, client.ReasonIdle},
		"public, ends tomorrow": {func(now time.Time, d *client.SessionData) {
			d.KeyID, d.CreatedAt, d.RefreshedAt, d.RefreshExpiresAt = "", now.Add(-13*day), now.Add(-13*day), now.Add(day)
		}, client.Pass{Seen: 1}, ""},
		"public, two weeks old": {func(now time.Time, d *client.SessionData) {
			d.KeyID, d.CreatedAt, d.RefreshedAt, d.RefreshExpiresAt = "", now.Add(-14*day), now.Add(-time.Hour), now
		}, client.Pass{Seen: 1, Ended: 1}, client.ReasonExpired},
		"pinned to a key that is gone": {func(now time.Time, d *client.SessionData) {
			d.KeyID, d.RefreshedAt = "gone", now.Add(-2*day)
		}, client.Pass{Seen: 1, Failed: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.edit(t, id, func(d *client.SessionData) { c.change(time.Now(), d) })
				got, err := f.keeper(t, client.KeeperConfig{Idle: 90 * day}).Pass(t.Context())
				if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
					t.Errorf("pass (%v), want - got +\n%s", err, diff)
				}
				why, _ := f.sessions.Ended(id)
				if why != c.ended || f.net.Rotations() != c.want.Renewed {
					t.Errorf("ended as %q with %d refreshes, want %q and %d", why, f.net.Rotations(), c.ended, c.want.Renewed)
				}
				if c.ended == client.ReasonIdle && len(f.net.Revoked()) != 2 {
					t.Errorf("%d tokens were revoked at the server, want both", len(f.net.Revoked()))
				}
			})
		})
	}
}

// lateDue is a store whose list of what is due was read before the sessions were
// used again.
type lateDue struct {
	client.DueStore
	before time.Time
}

func (s lateDue) Due(ctx context.Context, q client.DueQuery) ([]client.DueSession, error) {
	q.UsedBefore = time.Now().Add(time.Hour)
	due, err := s.DueStore.Due(ctx, q)
	for i := range due {
		due[i].UsedAt = s.before
	}
	return due, err
}

// TestKeeperLooksAgainBeforeItEnds a session: somebody may have come back since
// the list was read.
func TestKeeperLooksAgainBeforeItEnds(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		store := lateDue{f.sessions, time.Now().Add(-100 * day)}
		got, err := f.keeper(t, client.KeeperConfig{Idle: 90 * day, Store: store}).Pass(t.Context())
		if diff := cmp.Diff(client.Pass{Seen: 1, Postponed: 1}, got); diff != "" || err != nil {
			t.Errorf("pass (%v), want - got +\n%s", err, diff)
		}
		if err := call(t.Context(), f.Client, id); err != nil || len(f.net.Revoked()) != 0 {
			t.Errorf("the session afterwards: %v, with %d tokens revoked", err, len(f.net.Revoked()))
		}
	})
}

// TestKeeperKeepsSessionsForMonths: a hundred sessions that nobody uses, two
// keepers on one store, half a year.
func TestKeeperKeepsSessionsForMonths(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		var ids []string
		for range 20 {
			ids = append(ids, f.signIn(t).ID)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			k := f.keeper(t, client.KeeperConfig{Client: f.another(t, nil), Every: time.Hour})
			wg.Go(func() {
				if err := k.Run(ctx); err != nil {
					t.Errorf("Run = %v", err)
				}
			})
		}
		time.Sleep(30 * day)
		stop()
		wg.Wait()
		for _, id := range ids {
			if err := call(t.Context(), f.Client, id); err != nil {
				t.Fatalf("after a month: %v", err)
			}
		}
		// Daily, between 18 and 24 hours, and never by both keepers.
		if got := f.net.Rotations(); got < 20*28 || got > 20*42 {
			t.Errorf("%d refreshes of 20 sessions in 30 days, want about one a day", got)
		}
	})
}

// TestKeeperLimitsItselfPerHost, and works in pages.
func TestKeeperLimitsItselfPerHost(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		first := f.signIn(t)
		for i := range 450 {
			d := f.row(t, first.ID)
			d.ID, d.Version, d.RefreshedAt = "copy-"+time.Duration(i).String(), 0, time.Now().Add(-2*day)
			if err := f.sessions.Save(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		now, most := 0, 0
		f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"Session expired"}`))
		})
		got, err := f.keeper(t, client.KeeperConfig{PerHost: 3}).Pass(t.Context())
		if err != nil || got.Seen != 450 || got.Ended != 450 || most != 3 {
			t.Errorf("pass = %+v (%v) with %d requests at once, want all 450 with 3", got, err, most)
		}
	})
}

// TestKeeperLeavesAServerInTroubleAlone.
func TestKeeperLeavesAServerInTroubleAlone(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		for range 30 {
			id := f.signIn(t).ID
			f.edit(t, id, func(d *client.SessionData) { d.RefreshedAt = time.Now().Add(-2 * day) })
		}
		f.net.Override(tokenURL, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		})
		got, err := f.keeper(t, client.KeeperConfig{PerHost: 1}).Pass(t.Context())
		if err != nil || got.Postponed != 30 || len(f.net.Refreshes()) != 1 || f.sessions.Len() != 30 {
			t.Errorf("pass = %+v (%v) with %d requests, want all postponed after one", got, err, len(f.net.Refreshes()))
		}
	})
}

// TestKeeperStops within its budget: what is under way is finished, and nothing
// is left behind.
func TestKeeperStops(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		takes time.Duration
		ok    bool
	}{{3 * time.Second, true}, {time.Hour, false}} {
		bubble(t, nil, func(t *testing.T, f *fixture) {
			id := f.signIn(t).ID
			f.edit(t, id, func(d *client.SessionData) { d.RefreshedAt = time.Now().Add(-2 * day) })
			release := make(chan struct{})
			f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(c.takes):
				case <-release:
				}
				f.net.Handle(w, r, nil)
			})
			c2 := f.another(t, func(cfg *client.Config) { cfg.Timeout = time.Hour })
			k := f.keeper(t, client.KeeperConfig{Client: c2, Every: time.Minute, Budget: 10 * time.Second})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- k.Run(ctx) }()
			for len(f.net.Refreshes()) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			stop()
			begin := time.Now()
			err := <-ended
			if took := time.Since(begin); (err == nil) != c.ok || took > 10*time.Second || !c.ok && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Run ended with %v after %v", err, took)
			}
			close(release)
			if err := c2.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if f.net.Rotations() != 1 {
				t.Errorf("%d refreshes, want the one that had begun", f.net.Rotations())
			}
		})
	}
}

// TestKeeperLeavesNothingBehind, on real sockets. It counts the goroutines of the
// whole process, so it does not run beside other tests.
func TestKeeperLeavesNothingBehind(t *testing.T) { //nolint:paralleltest // see above
	before := runtime.NumGoroutine()
	f := newFixture(t, nil)
	for range 20 {
		id := f.signIn(t).ID
		f.edit(t, id, func(d *client.SessionData) { d.RefreshedAt = time.Now().Add(-2 * day) })
	}
	ctx, stop := context.WithCancel(t.Context())
	passed := make(chan client.Pass, 10)
	k := f.keeper(t, client.KeeperConfig{Every: 20 * time.Millisecond, Observe: func(p client.Pass) {
		if p.Renewed > 0 {
			passed <- p
		}
	}})
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	if p := <-passed; p.Renewed != 20 {
		t.Errorf("pass = %+v, want 20 renewed", p)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	f.net.Close()
	if open, _ := f.net.Connections(); open != 0 {
		t.Errorf("%d connections are open", open)
	}
	if now := fewGoroutines(before + 5); now > before+5 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// fewGoroutines waits until there are no more than that: those of connections
// that are closed end a little later.
func fewGoroutines(most int) (now int) {
	for range 3000 {
		if now = runtime.NumGoroutine(); now <= most {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return now
}

func TestKeeperConfig(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	for name, cfg := range map[string]client.KeeperConfig{
		"no client":     {Store: f.sessions},
		"no store":      {Client: f.Client},
		"negative time": {Client: f.Client, Store: f.sessions, Idle: -1},
	} {
		if _, err := client.NewKeeper(cfg); err == nil {
			t.Errorf("%s: NewKeeper accepted it", name)
		}
	}
}
