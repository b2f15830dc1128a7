package agent

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/network"
)

// world is an account at an official server, and what reaches it.
type world struct {
	net       *network.Network
	account   network.Account
	did       syntax.DID
	directory *identity.Directory
	guard     *egress.Guard
	fetch     *http.Client
	token     string
	lose      bool // the answer to the next write is lost
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{net: network.Shared(t)}
	w.account = w.net.NewAccount(t, 1)
	w.did = syntax.DID(w.account.DID)
	var err error
	if w.guard, err = egress.New(egress.Config{Route: w.net.Route, Dev: true}); err != nil {
		t.Fatal(err)
	}
	w.fetch = w.guard.Client(egress.Limits{Timeout: 15 * time.Second, MaxBytes: 4 << 20})
	if w.directory, err = identity.New(identity.Config{HTTP: w.fetch, PLCURL: w.net.PLC, Dev: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

// open signs in with the account's password, once.
func (w *world) open(ctx context.Context, _ Actor) (pds.Doer, error) {
	if w.token == "" {
		s, err := w.net.SignInWithPassword(ctx, w.account)
		if err != nil {
			return nil, err
		}
		w.token = s.AccessToken()
	}
	return w, nil
}

// Do sends a request in the account's name.
func (w *world) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := w.fetch.Do(req)
	if err == nil && w.lose {
		w.lose = false
		_ = res.Body.Close()
		return nil, &client.ServerError{Kind: client.ErrUnreachable, Cause: context.DeadlineExceeded}
	}
	return res, err
}
