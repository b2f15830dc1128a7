package identity_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/test/network"
)

// The official directory and servers, under https names and without Dev.
func TestOfficialServers(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	plc := network.AppHost()
	if err := n.MapHost(t.Context(), plc, strings.Replace(strings.TrimPrefix(n.PLC, "http://"), "localhost", "127.0.0.1", 1)); err != nil {
		t.Fatal(err)
	}
	d, err := identity.New(identity.Config{HTTP: n.Client(), DNS: newWorld(t).dns, PLCURL: "https://" + plc})
	if err != nil {
		t.Fatal(err)
	}
	for i, server := range n.PDS {
		account := n.NewAccount(t, i)
		for _, id := range []string{account.Handle, account.DID} {
			got, err := d.Lookup(t.Context(), syntax.AtIdentifier(id))
			if err != nil {
				t.Errorf("Lookup(%s): %v", id, err)
				continue
			}
			if pds, err := d.PDS(got); got.DID.String() != account.DID || got.Handle.String() != account.Handle || pds != server.URL {
				t.Errorf("Lookup(%s) = %s, %s at %q (%v); want %s, %s at %s", id, got.DID, got.Handle, pds, err, account.DID, account.Handle, server.URL)
			}
			if _, err := got.PublicKey(); err != nil {
				t.Errorf("key of %s: %v", id, err)
			}
		}
	}
	nobody := syntax.Handle("nobody-here" + n.PDS[0].HandleDomain)
	if _, err := d.LookupHandle(t.Context(), nobody); !errors.Is(err, identity.ErrHandleNotFound) {
		t.Errorf("LookupHandle(%s) = %v, want ErrHandleNotFound", nobody, err)
	}
	if _, err := d.LookupDID(t.Context(), alice); !errors.Is(err, identity.ErrDIDNotFound) {
		t.Errorf("LookupDID(unknown) = %v, want ErrDIDNotFound", err)
	}
}

// A handle that changes at its PDS changes what is shown; the account stays
// the same, and the old handle leads nowhere (S39).
func TestOfficialHandleChange(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	account := n.NewAccount(t, 0)
	d, err := identity.New(identity.Config{HTTP: n.Client(), DNS: newWorld(t).dns, PLCURL: n.PLC, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	did := syntax.DID(account.DID)
	if got, err := d.LookupDID(t.Context(), did); err != nil || got.Handle.String() != account.Handle {
		t.Fatalf("LookupDID = %+v, %v", got, err)
	}
	session, err := n.SignInWithPassword(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	renamed := network.Name("renamed") + n.PDS[0].HandleDomain
	if err := session.Call(t.Context(), "com.atproto.identity.updateHandle", map[string]string{"handle": renamed}, nil); err != nil {
		t.Fatalf("updateHandle: %v", err)
	}
	got, err := d.LookupFresh(t.Context(), did.AtIdentifier(), 0)
	if err != nil || got.Handle.String() != renamed || got.DID != did {
		t.Errorf("LookupFresh = %+v, %v; want %s", got, err, renamed)
	}
	if _, err := d.LookupFresh(t.Context(), syntax.AtIdentifier(account.Handle), 0); !errors.Is(err, identity.ErrHandleNotFound) {
		t.Errorf("LookupFresh(old handle) = %v, want ErrHandleNotFound", err)
	}
}
