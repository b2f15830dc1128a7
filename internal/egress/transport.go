package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// roundTripper sends one request of one hop within the limits of its client.
type roundTripper struct {
	guard  *Guard
	limits Limits
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.send(req)
	if err != nil {
		t.guard.count(err)
	}
	return resp, err
}

func (t *roundTripper) send(req *http.Request) (*http.Response, error) {
	out, transport, err := t.guard.address(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	done, err := t.guard.hosts.enter(req.Context(), hostKey(req.URL))
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		done(outcomeOf(err))
		return nil, err
	}
	resp.Request = req
	t.watch(req, resp, done)
	return resp, nil
}

// watch caps the body and frees the host's place when it has been read. A
// stream, which may last for days, frees it at once.
func (t *roundTripper) watch(req *http.Request, resp *http.Response, done func(outcome)) {
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.Body == http.NoBody || t.limits.Timeout == 0 {
		done(alive)
		t.guard.count(nil)
		done = nil
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return // the body is a connection to write to as well
	}
	b := &cappedBody{body: resp.Body, host: req.URL.Host, max: t.limits.MaxBytes, left: t.limits.MaxBytes}
	if done != nil {
		var once sync.Once
		b.done = func(err error) {
			once.Do(func() {
				done(outcomeOf(err))
				t.guard.count(err)
			})
		}
		// A caller that forgets the body keeps the place until its deadline.
		b.stop = context.AfterFunc(req.Context(), func() { b.done(context.Cause(req.Context())) })
	}
	resp.Body = b
}

// address checks where req wants to go and returns the request to send, with
// the transport that may carry it.
func (g *Guard) address(req *http.Request) (*http.Request, *http.Transport, error) {
	if req.URL == nil || req.URL.Hostname() == "" || req.URL.User != nil {
		return nil, nil, ErrBadURL
	}
	out := req.Clone(req.Context())
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", g.cfg.UserAgent)
	}
	switch {
	case req.URL.Scheme == "https":
		if addr, ok := g.route(req.URL); ok {
			if out.Host == "" {
				out.Host = req.URL.Host
			}
			out.URL.Scheme, out.URL.Host = "http", addr
			return out, g.plain, nil
		}
		return out, g.https, nil
	case req.URL.Scheme != "http":
		return nil, nil, fmt.Errorf("%w: scheme %q", ErrBadURL, req.URL.Scheme)
	case !g.cfg.Dev:
		return nil, nil, fmt.Errorf("%w: host %s", ErrPlainHTTP, req.URL.Host)
	}
	return out, g.plain, nil
}

func (g *Guard) route(u *url.URL) (string, bool) {
	if g.cfg.Route == nil {
		return "", false
	}
	return g.cfg.Route(strings.TrimSuffix(strings.ToLower(u.Host), ":443"))
}

// hostKey names the server that u leads to: host and port, lower case.
func hostKey(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // RoundTrip closes it also when it fails
	}
}

// count adds one to the counter of requests.
func (g *Guard) count(err error) {
	if g.metric != nil {
		g.metric.WithLabelValues(outcomeName(err)).Inc()
	}
}

func outcomeName(err error) string {
	var blocked *BlockedError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &blocked), errors.Is(err, ErrPlainHTTP), errors.Is(err, ErrBadURL):
		return "refused"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrHostDown):
		return "host_down"
	case errors.Is(err, ErrHostBusy):
		return "host_busy"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "failed"
}

// credentials are the headers that must not reach another origin.
var credentials = []string{"Authorization", "Dpop", "Cookie", "Proxy-Authorization"}

// checkRedirect follows at most limit redirects. The transport judges each
// hop's address; here credentials and the referring address are held back.
func checkRedirect(limit int) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0]
		if limit == 0 || (first.Method != http.MethodGet && first.Method != http.MethodHead) {
			return http.ErrUseLastResponse
		}
		if len(via) > limit {
			return ErrTooManyRedirects
		}
		next.Header.Del("Referer")
		if next.URL.Scheme != first.URL.Scheme || hostKey(next.URL) != hostKey(first.URL) {
			for _, name := range credentials {
				next.Header.Del(name)
			}
		}
		return nil
	}
}

// cappedBody counts what is read, after decompression.
type cappedBody struct {
	body io.ReadCloser
	host string
	max  int64 // 0 means no cap
	left int64
	err  error       // sticks once the cap was passed
	done func(error) // nil for streams; called with nil when the body ended well
	stop func() bool
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.max > 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more than is left, to tell "all" from "too much"
	}
	n, err := b.body.Read(p)
	if b.max > 0 {
		if int64(n) > b.left {
			n = int(b.left)
			err = fmt.Errorf("%w: more than %d bytes from %s", ErrTooLarge, b.max, b.host)
			b.err = err
		}
		b.left -= int64(n)
	}
	if errors.Is(err, io.EOF) {
		b.finish(nil)
	} else if err != nil {
		b.finish(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *cappedBody) Close() error {
	err := b.body.Close()
	b.finish(nil)
	return err
}

func (b *cappedBody) finish(err error) {
	if b.done != nil {
		b.stop()
		b.done(err)
	}
}
