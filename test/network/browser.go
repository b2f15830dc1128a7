package network

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// SignIn plays the browser of a person at the PDS's own pages: it opens the authorize URL, signs the account in, consents
// to everything asked for, and returns where the PDS sends the browser back to, the client's redirect URI with code, state
// and iss, without going there. About 0.4 s.
func (n *Network) SignIn(ctx context.Context, authorizeURL string, a Account) (redirect string, err error) {
	return n.decide(ctx, authorizeURL, a, "consent")
}

// Decline is [Network.SignIn] by a person who presses "Deny access": the redirect carries error=access_denied.
func (n *Network) Decline(ctx context.Context, authorizeURL string, a Account) (redirect string, err error) {
	return n.decide(ctx, authorizeURL, a, "reject")
}

func (n *Network) decide(ctx context.Context, authorizeURL string, a Account, decision string) (string, error) {
	p, redirect, err := n.openAuthorizePage(ctx, authorizeURL)
	if err != nil || redirect != "" {
		return redirect, err
	}
	var signedIn struct {
		EphemeralToken string `json:"ephemeralToken"`
	}
	in := map[string]any{"locale": "en", "username": a.Handle, "password": a.Password, "remember": false}
	if err := p.call(ctx, "sign-in", in, "", &signedIn); err != nil {
		return "", err
	}
	var decided struct {
		URL string `json:"url"`
	}
	in = map[string]any{}
	if decision == "consent" {
		in["did"] = a.DID // without "scope": all that was asked for
	}
	if err := p.call(ctx, decision, in, signedIn.EphemeralToken, &decided); err != nil {
		return "", err
	}
	status, location, body, err := p.navigate(ctx, decided.URL, "same-origin")
	if err != nil {
		return "", err
	}
	if status != http.StatusSeeOther {
		return "", fmt.Errorf("redirect to the client: status %d: %.300s", status, body)
	}
	return location, nil
}

// page is an open authorize page of a PDS's OAuth provider, with what its script knows.
type page struct {
	client *http.Client
	url    string // of the page, the referrer of all that follows
	origin string
	// Cookies are kept by hand: the provider's csrf-token is always Secure, and net/http/cookiejar would not send it
	// to http://localhost, as browsers do.
	cookies map[string]string
}

// openAuthorizePage returns the redirect instead when the provider answers at once, with an error or a silent sign-in.
func (n *Network) openAuthorizePage(ctx context.Context, authorizeURL string) (p *page, redirect string, err error) {
	u, err := url.Parse(authorizeURL)
	if err != nil {
		return nil, "", fmt.Errorf("authorize URL: %w", err)
	}
	p = &page{client: n.Client(), url: authorizeURL, origin: u.Scheme + "://" + u.Host, cookies: map[string]string{}}
	status, location, body, err := p.navigate(ctx, authorizeURL, "cross-site")
	switch {
	case err != nil:
		return nil, "", err
	case status == http.StatusSeeOther:
		return nil, location, nil
	case status != http.StatusOK:
		return nil, "", fmt.Errorf("authorize page: status %d: %.300s", status, body)
	}
	return p, "", nil
}

func (p *page) navigate(ctx context.Context, target, site string) (status int, location string, body []byte, err error) {
	header := map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": site}
	if site == "same-origin" {
		header["Referer"] = p.url
	}
	resp, body, err := p.do(ctx, http.MethodGet, target, nil, header)
	if err != nil {
		return 0, "", nil, err
	}
	return resp.StatusCode, resp.Header.Get("Location"), body, nil
}

// call is a request of the page's script.
func (p *page) call(ctx context.Context, endpoint string, in any, bearer string, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	header := map[string]string{
		"Content-Type":   "application/json",
		"Origin":         p.origin,
		"Referer":        p.url,
		"Sec-Fetch-Mode": "same-origin", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty",
		"X-Csrf-Token": p.cookies["csrf-token"],
	}
	if bearer != "" {
		header["Authorization"] = "Bearer " + bearer
	}
	resp, body, err := p.do(ctx, http.MethodPost, p.origin+"/@atproto/oauth-provider/~api/"+endpoint, text, header)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s on the page of the PDS: status %d: %s", endpoint, resp.StatusCode, body)
	}
	return json.Unmarshal(body, out)
}

func (p *page) do(ctx context.Context, method, target string, in []byte, header map[string]string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(in))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "atoll-tests") // a change in between would look like another device
	for name, value := range header {
		req.Header.Set(name, value)
	}
	var cookies []string
	for _, name := range slices.Sorted(maps.Keys(p.cookies)) {
		cookies = append(cookies, name+"="+p.cookies[name])
	}
	if len(cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	for _, cookie := range resp.Cookies() {
		p.cookies[cookie.Name] = cookie.Value
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}
