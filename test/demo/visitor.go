package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"

	"github.com/atoll-social/atoll/test/network"
)

// visitor is a member's browser at Atoll.
type visitor struct {
	atoll   string // its origin
	account network.Account
	client  *http.Client
}

// signIn brings a member through the pages of their server and back to Atoll.
func signIn(ctx context.Context, n *network.Network, atoll string, a network.Account) (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &visitor{atoll: atoll, account: a, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	toServer, err := v.follow(ctx, atoll+"/oauth/login?"+url.Values{"handle": {a.Handle}}.Encode())
	if err != nil {
		return nil, err
	}
	back, err := n.SignIn(ctx, toServer, a)
	if err != nil {
		return nil, err
	}
	_, err = v.follow(ctx, back)
	return v, err
}

// follow opens a page that leads on, and returns where to.
func (v *visitor) follow(ctx context.Context, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	to, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("sign in as %s: %s answered %s and leads nowhere", v.account.Handle, req.URL.Path, resp.Status)
	}
	return to.String(), nil
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
		"Content-Type": "application/json", "Origin": v.atoll, "Atoll-Acting-DID": v.account.DID, "Idempotency-Key": key,
	} {
		req.Header.Set(name, value)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s as %s: %s: %s", method, v.account.Handle, resp.Status, text)
	}
	return json.Unmarshal(text, out)
}
