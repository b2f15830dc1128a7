package client_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/size"
)

// shared is a session in a database that several processes use.
type shared struct {
	plan
	client *client.Client
	db     *store.DB
	strict *hostile.Network // nil: the official servers
}

// share signs somebody in and stores the session in a database.
func share(t *testing.T, database store.Config, official bool) *shared {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	s := &shared{plan: plan{Database: database, Ring: line}, db: storetest.Open(t, database)}
	start, approve := client.StartParams{Account: "alice.test"}, func(authorize string) (url.Values, error) { return s.strict.Approve(authorize) }
	if official {
		n := network.Shared(t)
		who := n.NewAccount(t, 0)
		s.Redirect, s.Official = loopbackURL, n.Env()
		start.Account = syntax.AtIdentifier(who.DID)
		approve = func(authorize string) (url.Values, error) {
			back, err := n.SignIn(t.Context(), authorize, who)
			if err != nil {
				return nil, err
			}
			u, err := url.Parse(back)
			return u.Query(), err
		}
	} else {
		s.strict = hostile.New()
		t.Cleanup(s.strict.Close)
		s.ClientID, s.Redirect, s.Strict = clientID, callbackURL, s.strict.Addr()
		if s.Key, err = signingKey(t).PrivateJWK(); err != nil {
			t.Fatal(err)
		}
	}
	s.client, _ = s.plan.client(t)
	if s.strict != nil {
		s.strict.JWKS = s.client.JWKS
	}
	started, err := s.client.Start(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	back, err := approve(started.URL)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := s.client.Callback(t.Context(), back, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Session, s.Callers = data.ID, 100
	if official {
		s.Callers = size.Size(20, 100) // they take long to look at a proof
	}
	return s
}

// set changes the session's row behind everybody's back.
func (s *shared) set(t *testing.T, columns string, at time.Time) {
	t.Helper()
	err := s.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE oauth_session SET `+columns+` WHERE id = $2`, store.Micros(at), s.Session)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eachServer runs fn with both databases and both kinds of servers; the official
// ones, which are slow, with one database where the size is small.
func eachServer(t *testing.T, fn func(t *testing.T, s *shared)) {
	t.Helper()
	for _, official := range []bool{false, true} {
		t.Run(map[bool]string{false: "strict", true: "official"}[official], func(t *testing.T) {
			t.Parallel()
			if official && !size.Full() {
				fn(t, share(t, storetest.NewConfig(t, store.SQLite), true))
				return
			}
			storetest.EachConfig(t, func(t *testing.T, database store.Config) { fn(t, share(t, database, official)) })
		})
	}
}

// TestOneRefreshOverTwoProcesses: S29. A hundred callers in each of two
// processes find an expired token.
func TestOneRefreshOverTwoProcesses(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *shared) {
		s.set(t, "access_expires_at = $1", time.Now().Add(-time.Minute))
		processes := []*process{launch(t, s.plan), launch(t, s.plan)}
		for _, p := range processes {
			p.start()
		}
		var refreshes int64
		for i, p := range processes {
			r, _ := p.report(t)
			if len(r.Failures) > 0 {
				t.Errorf("process %d: %d of %d callers failed, such as: %s", i, len(r.Failures), s.Callers, r.Failures[0])
			}
			refreshes += r.Refreshes
		}
		if refreshes != 1 {
			t.Errorf("%d refreshes by two processes, want 1", refreshes)
		}
		if s.strict != nil && len(s.strict.Seen("getSession")) < 2*s.Callers {
			t.Errorf("%d calls arrived, want %d", len(s.strict.Seen("getSession")), 2*s.Callers)
		}
	})
}

// TestAKilledHolder: kill -9 of the process that refreshes. The session goes on
// where the server allows it, and otherwise ends once, with the right reason.
func TestAKilledHolder(t *testing.T) {
	t.Parallel()
	for point, c := range map[string]struct {
		ends      client.Reason // at a server that takes a refresh token once
		refreshes int           // in all, at the strict servers
	}{
		"before":   {"", 1},
		"sent":     {client.ReasonLost, 1},
		"received": {client.ReasonLost, 1},
		"saved":    {"", 1},
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, s *shared) { killedAt(t, s, point, c.ends, c.refreshes) })
		})
	}
	t.Run("received, graceful server", func(t *testing.T) {
		t.Parallel()
		storetest.EachConfig(t, func(t *testing.T, database store.Config) {
			s := share(t, database, false)
			s.strict.Grace = time.Hour
			killedAt(t, s, "received", "", 1)
		})
	})
}

func killedAt(t *testing.T, s *shared, point string, ends client.Reason, refreshes int) {
	t.Helper()
	s.set(t, "access_expires_at = $1", time.Now().Add(-time.Minute))
	victim := s.plan
	victim.KillAt, victim.Callers = point, 3
	p := launch(t, victim)
	p.start()
	if _, ok := p.report(t); ok {
		t.Fatal("the process was not killed; the test proves nothing")
	}
	// Waiting for the lease is tested elsewhere, in time that is not real.
	past := time.Now().Add(-time.Hour)
	s.set(t, "lease_until = CASE WHEN lease_until > 0 THEN $1 ELSE lease_until END, sent_until = CASE WHEN sent_until > 0 THEN $1 ELSE sent_until END", past)
	for try := range 2 {
		err := call(t.Context(), s.client, s.Session)
		var ended *client.EndedError
		switch {
		case ends == "" && err != nil:
			t.Errorf("call %d after the kill = %v, want the session to go on", try, err)
		case ends != "" && try == 0 && (!errors.As(err, &ended) || ended.Reason != ends):
			t.Errorf("call after the kill = %v, want an end as %s", err, ends)
		case ends != "" && try == 1 && !errors.Is(err, client.ErrNotFound):
			t.Errorf("second call = %v, want ErrNotFound: it ended once", err)
		}
	}
	if s.strict != nil && s.strict.Rotations() != refreshes {
		t.Errorf("%d refreshes, want %d", s.strict.Rotations(), refreshes)
	}
}
