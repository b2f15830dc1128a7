package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/client"
)

// storm lets many callers of several clients use one session at once, and
// returns their errors.
func storm(clients []*client.Client, each int, id string) []error {
	return stormOf(call, clients, each, id)
}

func stormOf(do func(context.Context, *client.Client, string) error, clients []*client.Client, each int, id string) []error {
	var mu sync.Mutex
	var failures []error
	var wg sync.WaitGroup
	for _, c := range clients {
		for range each {
			wg.Go(func() {
				if err := do(context.Background(), c, id); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, err)
				}
			})
		}
	}
	wg.Wait()
	return failures
}

// TestOneRefreshForAllCallers: S29 with two clients in the place of processes.
func TestOneRefreshForAllCallers(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second) // everybody else comes meanwhile
			f.net.Handle(w, r, nil)
		})
		for round := range 3 {
			f.expire(t, id)
			failures := storm([]*client.Client{f.Client, f.another(t, nil)}, 100, id)
			if len(failures) > 0 {
				t.Fatalf("round %d: %d of 200 callers failed, such as: %v", round, len(failures), failures[0])
			}
			if got := f.net.Rotations(); got != round+1 {
				t.Fatalf("round %d: %d refreshes, want one a round", round, got)
			}
		}
		if d := f.row(t, id); d.LeaseOwner != "" || !d.LeaseUntil.IsZero() || !d.SentUntil.IsZero() {
			t.Errorf("the row at rest holds a lease of %q until %v, sent until %v", d.LeaseOwner, d.LeaseUntil, d.SentUntil)
		}
	})
}

// TestTokensAreRenewedInTime: by our clock, before they are sent; by the server's
// word, once.
func TestTokensAreRenewedInTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tweak     func(map[string]any)
		idle      time.Duration
		refreshes int
		calls     int
	}{
		"alive":                        {nil, 50 * time.Minute, 0, 1},
		"nearly over":                  {nil, time.Hour - 20*time.Second, 1, 1},
		"over":                         {nil, 2 * time.Hour, 1, 1},
		"of unknown end, alive":        {without("expires_in"), 50 * time.Minute, 0, 1},
		"of unknown end, over":         {without("expires_in"), 2 * time.Hour, 1, 2},
		"said to live longer, is over": {with("expires_in", 9999), 2 * time.Hour, 1, 2},
		"of a minute, young":           {with("expires_in", 60), 20 * time.Second, 0, 1},
		"of a minute, old":             {with("expires_in", 60), 40 * time.Second, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				f.net.Tweak.Token = c.tweak
				s := f.session(t)
				time.Sleep(c.idle)
				for range 3 {
					if err := use(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
				if got := f.net.Rotations(); got != c.refreshes {
					t.Errorf("%d refreshes, want %d", got, c.refreshes)
				}
				calls := 0
				for _, seen := range f.net.Seen("createRecord") {
					if seen.Header.Get("Authorization") != "" {
						calls++
					}
				}
				if want := c.calls + 2 + nonceAsked; calls != want {
					t.Errorf("%d requests at the PDS, want %d", calls, want)
				}
			})
		})
	}
}

// nonceAsked is the first call to a PDS, which is answered with a nonce.
const nonceAsked = 1

func with(name string, value any) func(map[string]any) {
	return func(m map[string]any) { m[name] = value }
}

func without(name string) func(map[string]any) {
	return func(m map[string]any) { delete(m, name) }
}

// TestARefreshOutlivesItsRequest: S31, first half.
func TestARefreshOutlivesItsRequest(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		before := f.row(t, id)
		f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(4 * time.Second)
			f.net.Handle(w, r, nil)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := call(ctx, f.Client, id); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call that was given up = %v, want its context's error", err)
		}
		if err := f.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := f.row(t, id)
		if after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken || f.net.Rotations() != 1 {
			t.Errorf("after the request was gone the tokens are the old ones (%d refreshes); want the refresh finished", f.net.Rotations())
		}
		f.net.Override(tokenURL, nil)
		if err := call(t.Context(), f.Client, id); err != nil || f.net.Rotations() != 1 {
			t.Errorf("next call = %v with %d refreshes, want success with the tokens that are there", err, f.net.Rotations())
		}
	})
}

// watchedStore calls back before and after saves.
type watchedStore struct {
	client.SessionStore
	get    func(ctx context.Context, id string) (*client.SessionData, error)
	save   func(ctx context.Context, d *client.SessionData) error
	remove func(ctx context.Context, id string, why client.Reason) error
}

func (w *watchedStore) Get(ctx context.Context, id string) (*client.SessionData, error) {
	if w.get != nil {
		return w.get(ctx, id)
	}
	return w.SessionStore.Get(ctx, id)
}

func (w *watchedStore) Save(ctx context.Context, d *client.SessionData) error {
	if w.save != nil {
		return w.save(ctx, d)
	}
	return w.SessionStore.Save(ctx, d)
}

func (w *watchedStore) Delete(ctx context.Context, id string, why client.Reason) error {
	if w.remove != nil {
		return w.remove(ctx, id, why)
	}
	return w.SessionStore.Delete(ctx, id, why)
}

// TestRotatedTokensAreDurableBeforeUse: S31, second half.
func TestRotatedTokensAreDurableBeforeUse(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		d := f.signIn(t)
		id, old := d.ID, d.AccessToken
		f.expire(t, id)
		f.net.Override(method, func(w http.ResponseWriter, r *http.Request) {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
			if stored := f.row(t, id); stored.AccessToken != token || token == old {
				t.Error("a token was used that the store does not have")
			}
			f.net.Handle(w, r, nil)
		})
		slow := &watchedStore{SessionStore: f.sessions}
		slow.save = func(ctx context.Context, d *client.SessionData) error {
			time.Sleep(time.Second)
			return f.sessions.Save(ctx, d)
		}
		c := f.another(t, func(cfg *client.Config) { cfg.Sessions = slow })
		if failures := storm([]*client.Client{c}, 10, id); len(failures) > 0 {
			t.Error(failures[0])
		}
	})
}

// TestALeaseIsWaitedFor: what a process finds that comes after another one, and
// how long it waits.
func TestALeaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lease, sent    time.Duration // ends from now; zero: none
		least, most    time.Duration // of the wait
		busy, notTried bool
	}{
		"none":                                {0, 0, 0, 0, false, false},
		"died before sending":                 {20 * time.Second, 0, 20 * time.Second, 23 * time.Second, false, false},
		"died after sending":                  {25 * time.Second, 10 * time.Second, 25 * time.Second, 28 * time.Second, false, false},
		"gave back, answer may come":          {0, 12 * time.Second, 12 * time.Second, 15 * time.Second, false, false},
		"ran out just now, clocks may differ": {-time.Second, 0, 15 * time.Second, 18 * time.Second, false, false},
		"ran out long ago":                    {-time.Hour, 0, 0, 0, false, false},
		"of a clock that is an hour ahead":    {time.Hour, 0, 45 * time.Second, 48 * time.Second, false, false},
		"of somebody who lives":               {45 * time.Second, 0, 60 * time.Second, 62 * time.Second, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.expire(t, id)
				begin := time.Now()
				f.edit(t, id, func(d *client.SessionData) {
					if c.lease != 0 {
						d.LeaseOwner, d.LeaseUntil = "somebody", begin.Add(c.lease)
					}
					if c.sent != 0 {
						d.SentUntil = begin.Add(c.sent)
					}
				})
				if c.busy {
					stop := make(chan struct{})
					defer synctest.Wait()
					defer close(stop)
					go beat(t, f, id, stop)
				}
				err := call(t.Context(), f.Client, id)
				took := time.Since(begin)
				if took < c.least || took > c.most {
					t.Errorf("waited %v, want %v to %v", took, c.least, c.most)
				}
				var later *client.RefreshError
				switch {
				case c.notTried && (!errors.As(err, &later) || !client.Temporary(err) || f.net.Rotations() != 0):
					t.Errorf("call = %v with %d refreshes, want a *RefreshError and none", err, f.net.Rotations())
				case !c.notTried && (err != nil || f.net.Rotations() != 1):
					t.Errorf("call = %v with %d refreshes, want success with one", err, f.net.Rotations())
				}
			})
		})
	}
}

// beat extends a lease as a living holder does.
func beat(t *testing.T, f *fixture, id string, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Second):
			f.edit(t, id, func(d *client.SessionData) { d.LeaseUntil = time.Now().Add(45 * time.Second) })
		}
	}
}

// TestWakeSparesThePoll: a hook tells of the change, so that nobody waits for
// the next look.
func TestWakeSparesThePoll(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		f.edit(t, id, func(d *client.SessionData) { d.LeaseOwner, d.LeaseUntil = "other", time.Now().Add(45*time.Second) })
		wake, stopped := make(chan struct{}, 1), false
		c := f.another(t, func(cfg *client.Config) {
			cfg.Wake = func(got string) (<-chan struct{}, func()) {
				if got != id {
					t.Errorf("Wake(%q), want %q", got, id)
				}
				return wake, func() { stopped = true }
			}
		})
		begin := time.Now()
		go func() {
			time.Sleep(30*time.Second + 50*time.Millisecond)
			f.edit(t, id, func(d *client.SessionData) {
				d.LeaseOwner, d.LeaseUntil, d.RefreshedAt, d.AccessExpiresAt = "", time.Time{}, time.Now(), time.Now().Add(time.Hour)
			})
			wake <- struct{}{}
		}()
		if err := call(t.Context(), c, id); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 30*time.Second+50*time.Millisecond || !stopped {
			t.Errorf("woken after %v (stopped: %v), want at the change", took, stopped)
		}
	})
}

// TestASlowHolderCannotOverwrite: S30. The first holder's save hangs until its
// lease has run out and another one has refreshed.
func TestASlowHolderCannotOverwrite(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, time.Hour} {
		bubble(t, nil, func(t *testing.T, f *fixture) {
			f.net.Grace = grace
			id := f.signIn(t).ID
			f.expire(t, id)
			frozen := &watchedStore{SessionStore: f.sessions}
			frozen.save = func(ctx context.Context, d *client.SessionData) error {
				if f.net.Rotations() > 0 { // from the answer on this process stands still
					time.Sleep(3 * time.Minute)
				}
				return f.sessions.Save(ctx, d)
			}
			slow := f.another(t, func(cfg *client.Config) { cfg.Sessions = frozen })
			result := make(chan error, 1)
			go func() { result <- call(context.Background(), slow, id) }()
			time.Sleep(time.Second)
			quickErr := call(t.Context(), f.Client, id)
			var ended *client.EndedError
			switch {
			case grace > 0 && quickErr != nil:
				t.Errorf("the second holder's call = %v, want success: the server gives the same answer again", quickErr)
			case grace == 0 && (!errors.As(quickErr, &ended) || ended.Reason != client.ReasonLost):
				t.Errorf("the second holder's call = %v, want an end as lost: the server takes no token twice", quickErr)
			}
			var now *client.SessionData
			if grace > 0 {
				now = f.row(t, id)
			}
			slowErr := <-result
			if err := slow.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if grace == 0 {
				if why, _ := f.sessions.Ended(id); !errors.Is(slowErr, client.ErrNotFound) || why != client.ReasonLost || f.sessions.Len() != 0 {
					t.Errorf("the slow holder's call = %v, the session ended as %q; want it gone once and for all", slowErr, why)
				}
				return
			}
			if after := f.row(t, id); slowErr != nil || after.Version != now.Version || after.AccessToken != now.AccessToken {
				t.Errorf("the slow holder (%v) changed version %d to %d; want nothing overwritten", slowErr, now.Version, after.Version)
			}
		})
	}
}

// TestRefreshSoon: S26.
func TestRefreshSoon(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		time.Sleep(54 * time.Minute)
		if s.RefreshSoon(t.Context()) {
			t.Error("a refresh was begun with six minutes left")
		}
		time.Sleep(2 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		if !s.RefreshSoon(ctx) || s.RefreshSoon(ctx) || time.Since(begin) != 0 {
			t.Errorf("with four minutes left: want one refresh begun at once and not twice")
		}
		cancel()
		if err := f.Drain(t.Context()); err != nil || f.net.Rotations() != 1 {
			t.Errorf("%d refreshes (%v), want one in the background", f.net.Rotations(), err)
		}
		if err := use(t.Context(), s); err != nil || f.net.Rotations() != 1 {
			t.Errorf("use = %v with %d refreshes, want the new tokens found", err, f.net.Rotations())
		}
	})
}

// TestRefreshNow: an operator's wish.
func TestRefreshNow(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		before := f.signIn(t)
		after, err := f.Refresh(t.Context(), before.ID)
		if err != nil || after.AccessToken == before.AccessToken || f.net.Rotations() != 1 {
			t.Errorf("Refresh = %v with %d refreshes, want new tokens", err, f.net.Rotations())
		}
		if _, err := f.Refresh(t.Context(), "nobody"); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("Refresh of nothing = %v, want ErrNotFound", err)
		}
	})
}

// TestAServerThatRefusesItsOwnTokens is not asked for new ones at every call.
func TestAServerThatRefusesItsOwnTokens(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		f.net.Override(method, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token", error_description="no"`)
			w.WriteHeader(401)
		})
		for range 20 {
			if err := use(t.Context(), s); !errors.Is(err, client.ErrRevoked) {
				t.Fatalf("use = %v, want ErrRevoked", err)
			}
		}
		if got := f.net.Rotations(); got != 1 {
			t.Errorf("%d refreshes for 20 calls, want 1", got)
		}
		time.Sleep(2 * time.Minute)
		if err := use(t.Context(), s); !errors.Is(err, client.ErrRevoked) || f.net.Rotations() != 2 {
			t.Errorf("two minutes later: %v with %d refreshes, want one more", err, f.net.Rotations())
		}
	})
}

// slowDirectory takes its time.
type slowDirectory struct {
	client.Directory
	takes time.Duration
}

func (d slowDirectory) Lookup(ctx context.Context, a syntax.AtIdentifier) (*identity.Identity, error) {
	time.Sleep(d.takes)
	return d.Directory.Lookup(ctx, a)
}

// TestALivingHolderKeepsItsLease: S30. It takes longer than a lease lasts, and
// shows that it lives.
func TestALivingHolderKeepsItsLease(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		slow := f.another(t, func(cfg *client.Config) {
			cfg.Directory, cfg.Timeout = slowDirectory{f.net, 55 * time.Second}, 2*time.Minute
		})
		begin := time.Now()
		failures := storm([]*client.Client{slow, f.another(t, func(cfg *client.Config) {
			cfg.Directory = slowDirectory{f.net, time.Second}
		})}, 1, id)
		// Whoever takes the lease first: there is one refresh, and both succeed.
		if len(failures) > 0 || f.net.Rotations() != 1 {
			t.Errorf("%v with %d refreshes after %v, want one", failures, f.net.Rotations(), time.Since(begin))
		}
		f.expire(t, id)
		done := make(chan error, 1)
		go func() { done <- call(context.Background(), slow, id) }()
		time.Sleep(time.Second)
		if err := call(t.Context(), f.Client, id); err != nil || f.net.Rotations() != 2 {
			t.Errorf("call beside a slow holder = %v with %d refreshes, want it to wait for that one", err, f.net.Rotations())
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestNothingIsSentTooLate: S30. The time that was marked is compared with the
// wall clock directly before sending.
func TestNothingIsSentTooLate(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]func(f *fixture, s *watchedStore, clock *time.Duration){
		"the store stands still": func(f *fixture, s *watchedStore, _ *time.Duration) {
			s.get = func(ctx context.Context, id string) (*client.SessionData, error) {
				d, err := f.sessions.Get(ctx, id)
				if err == nil && !d.SentUntil.IsZero() {
					time.Sleep(30 * time.Second)
				}
				return d, err
			}
		},
		"the machine sleeps": func(f *fixture, s *watchedStore, clock *time.Duration) {
			s.get = func(ctx context.Context, id string) (*client.SessionData, error) {
				d, err := f.sessions.Get(ctx, id)
				if err == nil && !d.SentUntil.IsZero() {
					*clock += time.Hour // no timer notices
				}
				return d, err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.expire(t, id)
				store := &watchedStore{SessionStore: f.sessions}
				var ahead time.Duration
				c := f.another(t, func(cfg *client.Config) {
					cfg.Sessions, cfg.Now = store, func() time.Time { return time.Now().Add(ahead) }
				})
				stall(f, store, &ahead)
				if err := call(t.Context(), c, id); !errors.Is(err, client.ErrNotRefreshed) || len(f.net.Refreshes()) != 0 {
					t.Errorf("call = %v with %d refreshes, want ErrNotRefreshed and none", err, len(f.net.Refreshes()))
				}
				if f.sessions.Len() != 1 {
					t.Error("the session is gone")
				}
			})
		})
	}
}

// TestNothingIsRepeatedTooLate: the same before the request is sent again with
// the nonce that was asked for.
func TestNothingIsRepeatedTooLate(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		var ahead time.Duration
		c := f.another(t, func(cfg *client.Config) { cfg.Now = func() time.Time { return time.Now().Add(ahead) } })
		f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
			ahead += time.Minute // the machine slept while the first answer was on its way
			f.net.Handle(w, r, nil)
		})
		_, err := c.Refresh(t.Context(), id)
		if got := len(f.net.Refreshes()); err == nil && f.net.Rotations() != 1 || got > 2 {
			t.Errorf("Refresh = %v with %d requests and %d refreshes", err, got, f.net.Rotations())
		}
		first := f.net.Refreshes()[0]
		for _, again := range f.net.Refreshes()[1:] {
			if again.At.Sub(first.At) < 15*time.Second {
				t.Errorf("the request was repeated %v later by a holder whose time was over", again.At.Sub(first.At))
			}
		}
	})
}

// TestRefreshingTellsNoSecret: S24, in errors and in the log.
func TestRefreshingTellsNoSecret(t *testing.T) {
	t.Parallel()
	for _, fault := range faults {
		bubble(t, nil, func(t *testing.T, f *fixture) {
			var log strings.Builder
			store := &watchedStore{SessionStore: f.sessions}
			c := f.another(t, func(cfg *client.Config) {
				cfg.Sessions, cfg.Logger = store, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			d := f.signIn(t)
			f.expire(t, d.ID)
			fault.arrange(f, store)
			err := call(t.Context(), c, d.ID)
			f.calm(store)
			time.Sleep(15 * time.Minute)
			said := fmt.Sprint(err, call(t.Context(), c, d.ID), log.String())
			for _, secret := range []string{"access-", "refresh-", d.AccessToken, d.RefreshToken, "eyJ"} {
				if strings.Contains(said, secret) {
					t.Errorf("%s: %q is in what was said: %s", fault.name, secret, said)
				}
			}
		})
	}
}

// TestTokensThatAreOverAreNotAdopted: what another process has saved long ago is
// renewed before it is sent, too.
func TestTokensThatAreOverAreNotAdopted(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		time.Sleep(30 * time.Minute)
		if _, err := f.another(t, nil).Refresh(t.Context(), s.Data().ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		before := len(f.net.Seen("createRecord"))
		if err := use(t.Context(), s); err != nil || f.net.Rotations() != 2 {
			t.Errorf("use = %v with %d refreshes, want the second", err, f.net.Rotations())
		}
		for _, r := range f.net.Seen("createRecord")[before:] {
			if r.Header.Get("Authorization") != "DPoP "+s.Data().AccessToken {
				t.Error("a token was sent that is over")
			}
		}
	})
}
