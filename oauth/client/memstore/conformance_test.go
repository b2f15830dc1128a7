package memstore_test

import (
	"testing"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
	"github.com/atoll-social/atoll/oauth/client/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("sessions", func(t *testing.T) {
		t.Parallel()
		storetest.Sessions(t, func(*testing.T) (one, other client.SessionStore) { s := memstore.NewSessions(); return s, s })
	})
	t.Run("due", func(t *testing.T) {
		t.Parallel()
		storetest.Due(t, func(*testing.T) (one, other storetest.DueStore) { s := memstore.NewSessions(); return s, s })
	})
	t.Run("attempts", func(t *testing.T) {
		t.Parallel()
		storetest.Attempts(t, func(*testing.T) (one, other client.AttemptStore) { a := memstore.NewAttempts(100, nil); return a, a })
	})
}
