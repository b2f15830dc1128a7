package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/server"
)

// visitor is a member's browser at Atoll.
type visitor struct {
	*server.Member
	atoll string // its origin
}

// signIn brings a member through the pages of their server and back to Atoll.
func signIn(ctx context.Context, n *network.Network, atoll string, a network.Account) (*visitor, error) {
	m, err := server.SignIn(ctx, n, atoll, a)
	return &visitor{m, atoll}, err
}

// call calls a procedure of Atoll's API in the member's name. key makes repeating it safe.
func (v *visitor) call(ctx context.Context, method, key string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.atoll+"/xrpc/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Origin": v.atoll, "Atoll-Acting-DID": v.Account.DID, "Idempotency-Key": key,
	} {
		req.Header.Set(name, value)
	}
	resp, err := v.Client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s as %s: %s: %s", method, v.Account.Handle, resp.Status, text)
	}
	return json.Unmarshal(text, out)
}
