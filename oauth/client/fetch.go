package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-social/atoll/oauth/dpop"
)

// Bounds of what is read from servers, in bytes.
const (
	maxDocument = 256 << 10 // a metadata document, a token response, an error
	maxDrain    = 64 << 10  // read and thrown away so that a connection can be used again
)

// answer is a response that was read whole.
type answer struct {
	url    string
	status int
	header http.Header
	body   []byte
}

// exchange sends one request of the OAuth protocol and reads the answer whole,
// within Timeout and maxDocument.
func (c *Client) exchange(ctx context.Context, method, target string, form url.Values, header http.Header) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, &ServerError{Kind: ErrNotOAuth, URL: target, Reason: "not a URL"}
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(target, err)
	}
	defer closeBody(resp)
	c.learnClock(req.URL, resp.Header)
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, unreachable(target, err)
	}
	if len(text) > maxDocument {
		return nil, &ServerError{Kind: ErrNotOAuth, URL: target, Status: resp.StatusCode, Reason: "answer is too large"}
	}
	return &answer{target, resp.StatusCode, resp.Header, text}, nil
}

// learnClock reads Date of any answer, and says once in the log when a server's
// clock and ours part.
func (c *Client) learnClock(u *url.URL, header http.Header) {
	origin, err := dpop.Origin(u)
	if err == nil && c.clocks.Learn(origin, header, c.now()) {
		c.log.Warn("clock differs from a server's", "origin", origin, "ahead_by", c.clocks.Offset(origin))
	}
}

// unreachable wraps a transport error without the URL that it repeats.
func unreachable(target string, err error) error {
	var repeated *url.Error
	if errors.As(err, &repeated) {
		err = repeated.Err
	}
	return &ServerError{Kind: ErrUnreachable, URL: target, Cause: err}
}

// closeBody reads the little that may be left, so that the connection can be
// used again, and closes.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	_ = resp.Body.Close()
}

// failure turns an answer's status into an error; nil where it is one of ok.
func (a *answer) failure(now time.Time, ok ...int) error {
	for _, status := range ok {
		if a.status == status {
			return nil
		}
	}
	e := &ServerError{Kind: ErrNotOAuth, URL: a.url, Status: a.status, Reason: "unexpected status"}
	switch {
	case a.status >= 300 && a.status < 400:
		e.Kind, e.Reason = ErrRedirected, ""
	case a.status == http.StatusTooManyRequests:
		e.Kind, e.Reason, e.RetryAt = ErrRateLimited, "", retryAt(a.header, now)
	case a.status >= 500:
		e.Kind, e.Reason = ErrUnreachable, ""
	}
	return e
}

// decode reads the JSON object of an answer into v.
func (a *answer) decode(v any) error {
	if !isJSON(a.header) {
		return &ServerError{Kind: ErrNotOAuth, URL: a.url, Status: a.status, Reason: "not application/json"}
	}
	if err := json.Unmarshal(a.body, v); err != nil || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("null")) {
		return &ServerError{Kind: ErrNotOAuth, URL: a.url, Status: a.status, Reason: "not the JSON expected"}
	}
	return nil
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// document fetches a metadata document: 200 and application/json, no redirect.
func (c *Client) document(ctx context.Context, target string, v any) error {
	a, err := c.exchange(ctx, http.MethodGet, target, nil, nil)
	if err != nil {
		return err
	}
	if err := a.failure(c.now(), http.StatusOK); err != nil {
		return err
	}
	return a.decode(v)
}

// retryAt reads when a rate limit ends: Retry-After (RFC 9110, 10.2.3) in
// seconds or as a date, or RateLimit-Reset as official servers send it, in Unix
// seconds. More than a day is cut to a day; zero when nothing usable is there.
func retryAt(h http.Header, now time.Time) time.Time {
	var at time.Time
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
			at = now.Add(time.Duration(seconds) * time.Second)
		} else if date, err := http.ParseTime(text); err == nil {
			at = date
		}
	} else if unix, err := strconv.ParseInt(h.Get("RateLimit-Reset"), 10, 64); err == nil {
		at = time.Unix(unix, 0)
		if unix < 1e9 { // the newer draft counts seconds from now
			at = now.Add(time.Duration(unix) * time.Second)
		}
	}
	if latest := now.Add(24 * time.Hour); at.After(latest) {
		at = latest
	}
	if at.Before(now) {
		return time.Time{}
	}
	return at.UTC()
}

// parseOrigin accepts an absolute URL that is nothing but an origin, with or
// without a final slash, and returns the origin.
func (c *Client) parseOrigin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("not a URL")
	}
	if err := c.checkServerURL(raw); err != nil {
		return "", err
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery {
		return "", errors.New("more than an origin")
	}
	return dpop.Origin(u)
}

// checkServerURL wants a URL that requests may go to: https, or with
// AllowLoopback http on a loopback host.
func (c *Client) checkServerURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL")
	}
	if _, err := dpop.Origin(u); err != nil {
		return err
	}
	loopback := isLoopback(u.Hostname())
	switch {
	case strings.Contains(raw, "#"):
		return errors.New("has a fragment")
	case loopback && !c.cfg.AllowLoopback:
		return fmt.Errorf("%s is this machine", u.Hostname())
	case u.Scheme == "http" && !loopback:
		return errors.New("not https")
	}
	return nil
}

func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
