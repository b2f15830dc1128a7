package session_test

import (
	"log/slog"
	"testing"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	conformance "github.com/atoll-social/atoll/oauth/client/storetest"
)

// TestConformance holds the Manager against what oauth/client demands of a
// store, as two processes on one database.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			t.Run("sessions", func(t *testing.T) {
				t.Parallel()
				conformance.Sessions(t, func(t *testing.T) (one, other client.SessionStore) { return twoManagers(t, engine) })
			})
			t.Run("due", func(t *testing.T) {
				t.Parallel()
				conformance.Due(t, func(t *testing.T) (one, other conformance.DueStore) { return twoManagers(t, engine) })
			})
		})
	}
}

// twoManagers open one database twice, with one ring.
func twoManagers(t *testing.T, engine store.Engine) (one, other *session.Manager) {
	t.Helper()
	cfg, ring := storetest.NewConfig(t, engine), newRing(t)
	return openManager(t, cfg, ring), openManager(t, cfg, ring)
}

func openManager(t *testing.T, cfg store.Config, ring *keyring.Ring) *session.Manager {
	t.Helper()
	m, err := session.New(session.Config{DB: storetest.Open(t, cfg), Ring: ring, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
