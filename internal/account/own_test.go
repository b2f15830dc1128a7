package account

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// TestInvitesAndOutages holds H1 against a PDS that takes accounts with an invite
// code only, and against one that is down: an error of its own each, and nothing
// half-made.
func TestInvitesAndOutages(t *testing.T) {
	t.Parallel()
	n := network.Start(t, network.Config{Plain: true}).Network // as `make run` has it
	db := storetest.New(t, store.SQLite)
	w := newWorld(t, n, db)
	if err := n.RequireInvites(t.Context(), 0, true); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateAccount(t.Context(), 0, network.Name("nobody")); err == nil {
		t.Fatal("the PDS takes accounts without a code")
	}
	h := w.provision(request())
	if !w.row(h.DID.String()).secrets[invite].IsZero() {
		t.Error("a used code is kept")
	}
	without := newWorld(t, n, storetest.New(t, store.SQLite), func(c *Config) { c.Hosting.Mint = false })
	if _, err := without.Provision(t.Context(), request()); reason(err) != Settings || !strings.Contains(err.Error(), "hosting.invite") {
		t.Errorf("without a code: %v", err)
	}
	if err := n.RequireInvites(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	without.provision(request())

	if err := n.SetUp(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	req := request()
	if _, err := w.Provision(t.Context(), req); reason(err) != Unreachable {
		t.Errorf("while the PDS is down: %v", err)
	}
	w.expire(h.DID)
	if err := w.update(t.Context(), h.DID, "down"); reason(err) != Unreachable {
		t.Errorf("update while the PDS is down: %v", err)
	}
	if r := w.row(req.Name + n.PDS[0].HandleDomain); r.state != undone {
		t.Errorf("of what could not begin: %s", r.state)
	}
	if err := n.SetUp(t.Context(), 0, true); err != nil {
		t.Fatal(err)
	}
	again := newWorld(t, n, db) // the other leaves the host alone for a while
	again.provision(req)
	if err := again.update(t.Context(), h.DID, "up"); err != nil {
		t.Errorf("update when the PDS is back: %v", err)
	}
}
