package client_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
)

// faults of one refresh, and what a session is worth afterwards: at a server
// that takes every refresh token once, and at one that gives the same answer
// again for a while.
//
//	first:  the error of the call that met the fault
//	strict: how the session ended at the next call, once the fault is over; "" lives
var faults = []struct {
	name    string
	arrange func(f *fixture, store *watchedStore)
	first   error
	ended   client.Reason // by the fault itself
	strict  client.Reason
}{
	{name: "answer lost after rotation", arrange: tokenFault(func(f *fixture, w http.ResponseWriter, r *http.Request) {
		if rotated(f, w, r) {
			panic(http.ErrAbortHandler)
		}
	}), first: client.ErrUnreachable, strict: client.ReasonLost},
	{name: "connection lost before rotation", arrange: tokenFault(func(*fixture, http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}), first: client.ErrUnreachable},
	{name: "500", arrange: tokenFault(status500), first: client.ErrUnreachable},
	{name: "500 after rotation", arrange: tokenFault(func(f *fixture, w http.ResponseWriter, r *http.Request) {
		if rotated(f, w, r) {
			status500(f, w, r)
		}
	}), first: client.ErrUnreachable, strict: client.ReasonLost},
	{name: "429", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(429)
	}), first: client.ErrRateLimited},
	{name: "HTML", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<h1>Welcome to the airport</h1>"))
	}), first: client.ErrNotOAuth},
	{name: "JSON of somebody else", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
		hostile.JSON(w, 200, map[string]any{"hello": "world"})
	}), first: client.ErrTokenResponse},
	{name: "redirect", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, hostile.Other+"/login", http.StatusFound)
	}), first: client.ErrRedirected},
	{name: "404", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }), first: client.ErrNotOAuth},
	{name: "invalid_client", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
		hostile.JSON(w, 401, map[string]any{"error": "invalid_client"})
	}), first: client.ErrNotRefreshed},
	{name: "timeout", arrange: tokenFault(func(_ *fixture, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), first: client.ErrUnreachable},
	{name: "timeout after rotation", arrange: tokenFault(func(f *fixture, w http.ResponseWriter, r *http.Request) {
		if rotated(f, w, r) {
			<-r.Context().Done()
		}
	}), first: client.ErrUnreachable, strict: client.ReasonLost},
	{name: "endless body", arrange: tokenFault(func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
	}), first: client.ErrNotOAuth},
	{name: "PDS does not answer", arrange: func(f *fixture, _ *watchedStore) {
		f.net.Override(hostile.PDS+"/.well-known/oauth-protected-resource", status(502))
	}, first: client.ErrUnreachable},
	{name: "save fails once", arrange: saveFault(1, false)},
	{name: "save is done and seems to fail", arrange: saveFault(1, true)},
	{name: "save fails five times", arrange: saveFault(5, false)},
	{name: "save fails always", arrange: saveFault(1000, false), first: client.ErrEnded, ended: client.ReasonLost, strict: client.ReasonLost},
	{name: "clock 5 min ahead", arrange: clockFault(5 * time.Minute)},
	{name: "clock 5 min behind", arrange: clockFault(-5 * time.Minute)},
	{name: "clock 1 h ahead", arrange: clockFault(time.Hour)},
	{name: "clock 1 h behind", arrange: clockFault(-time.Hour)},
}

// TestFaultMatrix: S31, S32, S35.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	for _, fault := range faults {
		for kind, grace := range map[string]time.Duration{"strict": 0, "graceful": time.Hour} {
			t.Run(fault.name+", "+kind, func(t *testing.T) {
				t.Parallel()
				bubble(t, nil, func(t *testing.T, f *fixture) {
					f.net.Grace = grace
					id := f.signIn(t).ID
					f.expire(t, id)
					store := &watchedStore{SessionStore: f.sessions}
					c := f.another(t, func(cfg *client.Config) { cfg.Sessions = store })
					fault.arrange(f, store)
					err := call(t.Context(), c, id)
					if !errors.Is(err, fault.first) {
						t.Fatalf("call = %v, want %v", err, fault.first)
					}
					if fault.first != nil && fault.ended == "" {
						checkKept(t, f, c, id, err)
					}
					want := fault.strict
					if kind == "graceful" {
						want = fault.ended
					}
					f.calm(store)
					time.Sleep(15 * time.Minute) // longer than any pause
					checkOutcome(t, f, c, id, want)
					if revoked := len(f.net.Revoked()); fault.ended == client.ReasonLost && revoked != 2 {
						t.Errorf("%d tokens revoked, want both that nobody could keep", revoked)
					}
				})
			})
		}
	}
}

// checkKept: a session that is kept is left alone until the time that its error names.
func checkKept(t *testing.T, f *fixture, c *client.Client, id string, err error) {
	t.Helper()
	var later *client.RefreshError
	until, ok := client.RetryAt(err)
	if !errors.As(err, &later) || !ok || !until.After(time.Now()) || !client.Temporary(err) || f.sessions.Len() != 1 {
		t.Fatalf("call = %v with %d sessions, want a *RefreshError with a time and the session kept", err, f.sessions.Len())
	}
	asked := len(f.net.Seen("")) // whatever the path
	if err := call(t.Context(), c, id); !errors.Is(err, client.ErrNotRefreshed) || len(f.net.Seen("")) != asked {
		t.Errorf("call at once again = %v with %d requests, want the same answer and none", err, len(f.net.Seen(""))-asked)
	}
}

func checkOutcome(t *testing.T, f *fixture, c *client.Client, id string, want client.Reason) {
	t.Helper()
	err := call(t.Context(), c, id)
	why, _ := f.sessions.Ended(id)
	if want == "" && (err != nil || f.sessions.Len() != 1) || want != "" && (why != want || err == nil) {
		t.Errorf("once the fault is over: call = %v, session ended as %q; want %q", err, why, want)
	}
	if want == "" {
		if d := f.row(t, id); d.LeaseOwner != "" || !d.SentUntil.IsZero() {
			t.Errorf("the row at rest holds a lease of %q, sent until %v", d.LeaseOwner, d.SentUntil)
		}
	}
}

// calm takes all faults away.
func (f *fixture) calm(store *watchedStore) {
	f.net.Override(tokenURL, nil)
	f.net.Override(hostile.PDS+"/.well-known/oauth-protected-resource", nil)
	store.save, store.remove = nil, nil
	f.net.ClockOffset = 0
}

// tokenFault lets fn answer refreshes.
func tokenFault(fn func(*fixture, http.ResponseWriter, *http.Request)) func(*fixture, *watchedStore) {
	return func(f *fixture, _ *watchedStore) {
		f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) { fn(f, w, r) })
	}
}

func status500(_ *fixture, w http.ResponseWriter, _ *http.Request) {
	hostile.JSON(w, 500, map[string]string{"error": "server_error"})
}

// rotated does what was asked and keeps the answer to itself; a demand for a
// nonce comes before and is passed on.
func rotated(f *fixture, w http.ResponseWriter, r *http.Request) bool {
	answer := httptest.NewRecorder()
	f.net.Handle(answer, r, nil)
	if answer.Code == http.StatusOK {
		return true
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	return false
}

// saveFault fails so many saves of rotated tokens, perhaps after doing them.
func saveFault(times int, done bool) func(*fixture, *watchedStore) {
	return func(f *fixture, store *watchedStore) {
		store.save = func(ctx context.Context, d *client.SessionData) error {
			if f.net.Rotations() == 0 || times == 0 {
				return f.sessions.Save(ctx, d)
			}
			times--
			if done {
				if err := f.sessions.Save(ctx, d); err != nil {
					return err
				}
				d.Version--
			}
			return errors.New("disk full")
		}
	}
}

// clockFault puts the servers' clock apart from ours; they check times strictly.
func clockFault(ours time.Duration) func(*fixture, *watchedStore) {
	return func(f *fixture, _ *watchedStore) { f.net.ClockOffset, f.net.Timed = -ours, true }
}

// TestPausesArePerHost: one server in trouble is not asked for every session of
// its, and nobody else notices.
func TestPausesArePerHost(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		ids := []string{f.signIn(t).ID, f.signIn(t).ID, f.signIn(t).ID}
		for _, id := range ids {
			f.expire(t, id)
		}
		f.net.Override(tokenURL, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("RateLimit-Reset", "300")
			w.WriteHeader(429)
		})
		begin := time.Now()
		for _, id := range ids {
			err := call(t.Context(), f.Client, id)
			if until, ok := client.RetryAt(err); !errors.Is(err, client.ErrRateLimited) || !ok || until.Sub(begin).Round(time.Second) != 5*time.Minute {
				t.Errorf("call = %v until %v, want ErrRateLimited until the server's time", err, until)
			}
		}
		if got := len(f.net.Refreshes()); got != 1 {
			t.Errorf("%d refreshes were sent to a server that wants none, want 1", got)
		}
		f.net.Override(tokenURL, nil)
		time.Sleep(5*time.Minute + time.Second)
		for _, id := range ids {
			if err := call(t.Context(), f.Client, id); err != nil {
				t.Errorf("after the limit: %v", err)
			}
		}
	})
}

// TestATokenNearlyOverIsUsedWhileItCannotBeRenewed: trouble with refreshing is
// not yet trouble for the member.
func TestATokenNearlyOverIsUsedWhileItCannotBeRenewed(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		f.net.Override(tokenURL, status(503))
		time.Sleep(time.Hour - 20*time.Second)
		if err := use(t.Context(), s); err != nil {
			t.Errorf("use with 20 s left = %v, want the old token used", err)
		}
		time.Sleep(time.Minute)
		if err := use(t.Context(), s); !errors.Is(err, client.ErrNotRefreshed) {
			t.Errorf("use afterwards = %v, want ErrNotRefreshed", err)
		}
	})
}

// troubledDirectory fails while told to.
type troubledDirectory struct {
	client.Directory
	err error
}

func (d *troubledDirectory) Lookup(ctx context.Context, a syntax.AtIdentifier) (*identity.Identity, error) {
	if d.err != nil {
		return nil, d.err
	}
	return d.Directory.Lookup(ctx, a)
}

// TestWithoutIdentityNothingIsSent: a directory that does not answer, or does not
// know the account any more, ends no session.
func TestWithoutIdentityNothingIsSent(t *testing.T) {
	t.Parallel()
	for _, trouble := range []error{errors.New("no answer"), identity.ErrDIDNotFound} {
		bubble(t, nil, func(t *testing.T, f *fixture) {
			id := f.signIn(t).ID
			f.expire(t, id)
			dir := &troubledDirectory{f.net, trouble}
			c := f.another(t, func(cfg *client.Config) { cfg.Directory = dir })
			if err := call(t.Context(), c, id); !errors.Is(err, client.ErrNotRefreshed) || !errors.Is(err, trouble) || len(f.net.Refreshes()) != 0 {
				t.Errorf("call = %v with %d refreshes, want ErrNotRefreshed and none", err, len(f.net.Refreshes()))
			}
			dir.err = nil
			time.Sleep(time.Minute)
			if err := call(t.Context(), c, id); err != nil {
				t.Errorf("call when the directory is back = %v", err)
			}
		})
	}
}

// TestStoresThatLie: found out before a refresh token is sent.
func TestStoresThatLie(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(f *fixture, s *watchedStore, id string){
		"another session": func(f *fixture, s *watchedStore, id string) {
			s.get = func(ctx context.Context, _ string) (*client.SessionData, error) {
				d, err := f.sessions.Get(ctx, id)
				d.ID = "another"
				return d, err
			}
		},
		"nothing, and no error": func(_ *fixture, s *watchedStore, _ string) {
			s.get = func(context.Context, string) (*client.SessionData, error) { return nil, nil }
		},
		"saves nothing": func(_ *fixture, s *watchedStore, _ string) {
			s.save = func(_ context.Context, d *client.SessionData) error { d.Version++; return nil }
		},
		"does not raise the version": func(f *fixture, s *watchedStore, _ string) {
			s.save = func(ctx context.Context, d *client.SessionData) error { return f.sessions.Save(ctx, d.Clone()) }
		},
		"stale reads": func(f *fixture, s *watchedStore, id string) {
			old, _ := f.sessions.Get(context.Background(), id)
			s.get = func(context.Context, string) (*client.SessionData, error) { return old.Clone(), nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.expire(t, id)
				store := &watchedStore{SessionStore: f.sessions}
				c := f.another(t, func(cfg *client.Config) { cfg.Sessions = store })
				lie(f, store, id)
				if err := call(t.Context(), c, id); !errors.Is(err, client.ErrStore) || len(f.net.Refreshes()) != 0 {
					t.Errorf("call = %v with %d refreshes, want ErrStore and none", err, len(f.net.Refreshes()))
				}
				if f.sessions.Len() != 1 {
					t.Error("the session is gone")
				}
			})
		})
	}
}
