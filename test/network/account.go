package network

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// Account is a person (or a community) on one of the PDSes.
type Account struct {
	DID      string
	Handle   string
	Email    string
	Password string
	// PDS is an index into [Network.PDS].
	PDS int
}

// CreateAccount makes an account on a PDS, by its index, as anyone may there. The name has 3–18 characters, no dots, and
// is not taken ([Name] makes one up); the handle is the name with the PDS's handle domain. About 50 ms.
func (n *Network) CreateAccount(ctx context.Context, pds int, name string) (Account, error) {
	return n.CreateAccountWithPassword(ctx, pds, name, "password of "+name)
}

// CreateAccountWithPassword is [Network.CreateAccount] with a password of one's own.
func (n *Network) CreateAccountWithPassword(ctx context.Context, pds int, name, password string) (Account, error) {
	server := n.PDS[pds]
	a := Account{Handle: name + server.HandleDomain, Password: password, PDS: pds}
	a.Email = name + "@" + strings.TrimPrefix(server.HandleDomain, ".")
	var created struct {
		DID string `json:"did"`
	}
	in := map[string]string{"handle": a.Handle, "email": a.Email, "password": a.Password}
	err := n.call(ctx, http.MethodPost, server.URL, "com.atproto.server.createAccount", "", in, &created)
	if err != nil {
		return Account{}, err
	}
	a.DID = created.DID
	return a, nil
}

// NewAccount makes an account with a made-up name for a test.
func (n *Network) NewAccount(t testing.TB, pds int) Account {
	t.Helper()
	a, err := n.CreateAccount(t.Context(), pds, Name("someone"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}
