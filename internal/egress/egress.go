// Package egress is the only way out: HTTP clients with caps on time, size
// and redirects that reach public addresses only. Addresses are judged when
// connecting, so neither a redirect nor a changed DNS answer gets around it.
package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where requests may go. The zero value allows https to public
// addresses, any port.
type Config struct {
	// Dev also allows loopback addresses, by https and by plain http.
	// It opens no other private range.
	Dev bool
	// Allow names the operator's own servers by exact address and port. They
	// may be private; they are reached by https only.
	Allow []netip.AddrPort
	// Route is a seam for tests, set from Go only. It is asked with the
	// lower-case host of an https address (with the port unless it is 443).
	// When it knows the host, the request goes by plain http to the loopback
	// address (host:port) that it returns, while the Host header, the URL and
	// what the caller sees of the response keep the https name.
	Route func(host string) (addr string, ok bool)
	// Resolver looks names up; nil means that of the system.
	Resolver *net.Resolver
	// RootCAs are the authorities trusted for https; nil means the system's.
	RootCAs *x509.CertPool
	// UserAgent is sent with requests that name none; empty means "atoll".
	UserAgent string
	// PerHost bounds what one host may hold up.
	PerHost HostLimits
	// Metrics, when given, takes the counter of requests by outcome.
	Metrics prometheus.Registerer
}

// Limits are the caps of one client.
type Limits struct {
	// Timeout is for the whole request, from looking up the name to the last
	// byte of the body. Zero means none: for streams only.
	Timeout time.Duration
	// MaxBytes is how much of a body can be read, counted after
	// decompression; the read that would go beyond fails with ErrTooLarge.
	// Zero means no cap: for streams only.
	MaxBytes int64
	// Redirects is how many are followed, for GET and HEAD only. With zero,
	// and for other methods, the redirect itself is the response: whoever
	// asked for a document sees a status that is not 200. One redirect too
	// many fails with ErrTooManyRedirects. Credentials (Authorization, DPoP,
	// Cookie) stay with the first origin.
	Redirects int
}

// Guard makes clients that share connections, address rules and what is known
// about hosts.
type Guard struct {
	cfg    Config
	rules  *rules
	hosts  *hosts
	https  *http.Transport // public addresses, Allow, in dev loopback
	plain  *http.Transport // loopback only: dev and Route
	metric *prometheus.CounterVec
}

// New checks cfg and returns a Guard. It opens nothing.
func New(cfg Config) (*Guard, error) {
	for _, addr := range cfg.Allow {
		if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
			return nil, fmt.Errorf("egress: allowed address %q: must be the address and port of one server", addr)
		}
	}
	perHost, err := cfg.PerHost.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "atoll"
	}
	g := &Guard{cfg: cfg, rules: newRules(cfg.Dev, cfg.Allow), hosts: newHosts(perHost)}
	g.https = newTransport(g.dialer(g.rules.https), cfg.RootCAs)
	g.plain = newTransport(g.dialer(g.rules.plain), nil)
	if cfg.Metrics != nil {
		g.metric = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_egress_requests_total",
			Help: "Requests sent to other servers, by outcome.",
		}, []string{"outcome"})
		if err := cfg.Metrics.Register(g.metric); err != nil {
			return nil, fmt.Errorf("egress: register metrics: %w", err)
		}
	}
	return g, nil
}

// Client returns a client with the given caps. Clients of one Guard share its
// connections; making one is cheap.
func (g *Guard) Client(limits Limits) *http.Client {
	return &http.Client{
		Transport:     &roundTripper{guard: g, limits: limits},
		Timeout:       limits.Timeout,
		CheckRedirect: checkRedirect(limits.Redirects),
	}
}

// Close drops idle connections. Requests under way go on.
func (g *Guard) Close() {
	g.https.CloseIdleConnections()
	g.plain.CloseIdleConnections()
}

// Caps that hold for every request, whatever its Limits.
const (
	dialTimeout      = 10 * time.Second // looking up and trying all addresses
	handshakeTimeout = 10 * time.Second
	headerTimeout    = 60 * time.Second // from the last byte sent to the answer's headers
	maxHeaderBytes   = 64 << 10
	idleTimeout      = 90 * time.Second
	idlePerHost      = 16
	idleTotal        = 512
)

func newTransport(dial dialFunc, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // never one from the environment: it would connect for us, unguarded
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxIdleConns:           idleTotal,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// Errors that callers branch on. They arrive wrapped in *url.Error.
var (
	// ErrTooLarge is returned when reading a body beyond Limits.MaxBytes.
	ErrTooLarge = errors.New("answer is larger than allowed")
	// ErrPlainHTTP refuses an http address outside of dev and loopback.
	ErrPlainHTTP = errors.New("plain http is not allowed")
	// ErrBadURL refuses an address that names a user, another scheme or no host.
	ErrBadURL = errors.New("address cannot be fetched")
	// ErrTooManyRedirects ends a chain longer than Limits.Redirects.
	ErrTooManyRedirects = errors.New("too many redirects")
	// ErrHostDown is what a *DownError wraps.
	ErrHostDown = errors.New("host is down")
	// ErrHostBusy is returned when a host already holds as many requests as
	// it may and none ended in time.
	ErrHostBusy = errors.New("too many requests to this host are waiting")
)

// BlockedError says that a host's address is one that may not be reached.
type BlockedError struct {
	Host string     // as it was asked for
	Addr netip.Addr // what it resolved to
}

// Error names host and address.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("address %s of host %s is not allowed", e.Addr, e.Host)
}

// DownError says that a host failed too often lately and was not asked.
type DownError struct {
	Host       string
	RetryAfter time.Duration // when it will be tried again; never negative
}

// Error names the host.
func (e *DownError) Error() string {
	return fmt.Sprintf("host %s failed repeatedly and is not asked again for %s", e.Host, e.RetryAfter.Round(time.Second))
}

// Unwrap returns ErrHostDown.
func (e *DownError) Unwrap() error { return ErrHostDown }
