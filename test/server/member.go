package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"

	"github.com/atoll-social/atoll/test/network"
)

// Member is the browser of somebody who has signed in.
type Member struct {
	Account network.Account
	// Client has the cookies, and follows no redirect.
	Client *http.Client
}

// SignIn brings a member through the pages of their own server and back to the program at origin.
func SignIn(ctx context.Context, n *network.Network, origin string, a network.Account) (*Member, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	m := &Member{Account: a, Client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	toServer, err := m.follow(ctx, origin+"/oauth/login?"+url.Values{"handle": {a.Handle}}.Encode())
	if err != nil {
		return nil, err
	}
	back, err := n.SignIn(ctx, toServer, a)
	if err != nil {
		return nil, err
	}
	_, err = m.follow(ctx, back)
	return m, err
}

// follow opens a page that leads on, and returns where to.
func (m *Member) follow(ctx context.Context, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	resp, err := m.Client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	to, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("sign in as %s: %s answered %s and leads nowhere", m.Account.Handle, req.URL.Path, resp.Status)
	}
	return to.String(), nil
}
