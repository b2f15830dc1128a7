// Package pds makes typed calls to a PDS: what is sent and what comes back is
// checked, and everything that can go wrong has a type. Who is asking is the
// business of the Doer that carries the calls.
package pds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
)

// maxAnswer bounds an answer, in bytes. A record has at most 1 MiB as CBOR,
// and JSON takes more room than that.
const maxAnswer = 4 << 20

// Doer sends a request, usually in somebody's name: an OAuth session or, for
// calls that need no proof, an *http.Client. Its own errors are passed on
// wrapped. It must not follow redirects to other hosts with credentials.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// Config says which server a Client talks to, and how.
type Config struct {
	// Origin is the server: scheme://host[:port], as identity.PDSEndpoint gives it.
	Origin string
	// HTTP carries the calls. Required.
	HTTP Doer
	// Now is the clock for waiting times; nil is time.Now.
	Now func() time.Time
}

// Client calls one PDS. It is safe for concurrent use if its Doer is.
type Client struct {
	origin string
	http   Doer
	now    func() time.Time
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Client, error) {
	if cfg.HTTP == nil {
		return nil, errors.New("pds: nothing given to send requests with")
	}
	if _, err := parseOrigin(cfg.Origin); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{origin: cfg.Origin, http: cfg.HTTP, now: cfg.Now}, nil
}

// SubscribeReposURL is the WebSocket address of a server's event stream
// (com.atproto.sync.subscribeRepos), of a PDS or a relay at origin. With a
// cursor, a sequence number of that server, the events after it are replayed
// first; zero means all that it has, nil only what happens from now on.
func SubscribeReposURL(origin string, cursor *int64) (string, error) {
	u, err := parseOrigin(origin)
	if err != nil {
		return "", err
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = "/xrpc/com.atproto.sync.subscribeRepos"
	if cursor != nil {
		u.RawQuery = fmt.Sprintf("cursor=%d", *cursor)
	}
	return u.String(), nil
}

func parseOrigin(origin string) (*url.URL, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return nil, fmt.Errorf("pds: %.200q is not the origin of a server", origin)
	}
	return u, nil
}

// query calls a method that reads (AT Protocol XRPC specification).
func (c *Client) query(ctx context.Context, method syntax.NSID, params url.Values, out any) error {
	address := c.origin + "/xrpc/" + method.String()
	if len(params) > 0 {
		address += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return c.call(req, method, out)
}

// procedure calls a method that writes. The body can be sent again by a Doer
// that has to retry (req.GetBody).
func (c *Client) procedure(ctx context.Context, method syntax.NSID, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("call %s at %s: encode: %w", method, c.origin, err)
	}
	return c.send(ctx, method, "application/json", body, out)
}

// send is procedure for a body of any kind.
func (c *Client) send(ctx context.Context, method syntax.NSID, kind string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+"/xrpc/"+method.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	req.Header.Set("Content-Type", kind)
	return c.call(req, method, out)
}

func (c *Client) call(req *http.Request, method syntax.NSID, out any) error {
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, unsent(req.Context(), err))
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, c.readError(res))
	}
	if out == nil && res.StatusCode == http.StatusOK {
		return nil
	}
	if err := readAnswer(res, out); err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return nil
}

// readAnswer decodes a good answer. Anything but JSON with status 200 comes
// from something that is no PDS, or stands in front of one.
func readAnswer(res *http.Response, out any) error {
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", ErrBadAnswer, res.StatusCode)
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" {
		return fmt.Errorf("%w: content type %.100q", ErrBadAnswer, res.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case errors.Is(err, egress.ErrTooLarge), err == nil && len(body) > maxAnswer:
		return fmt.Errorf("%w: too large", ErrBadAnswer)
	case err != nil:
		return fmt.Errorf("%w: read the answer: %w", ErrUnreachable, err)
	case !utf8.Valid(body):
		return fmt.Errorf("%w: not UTF-8", ErrBadAnswer)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return nil
}

// unsent marks errors of the network, so that they can be told from what the
// Doer has to say about the session.
func unsent(ctx context.Context, err error) error {
	var network net.Error // *url.Error is one, too
	if errors.As(err, &network) && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}
