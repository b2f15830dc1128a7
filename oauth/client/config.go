package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// Config is what a client is made of. Nothing in it may be changed afterwards,
// except that Keys can be replaced.
type Config struct {
	// ClientID is the https URL of the published metadata document of a
	// confidential client, or LoopbackID (also when empty) for a public client
	// in development, whose real id is made of RedirectURIs and Scope.
	ClientID string
	// RedirectURIs are where browsers come back to; the first is the default.
	// Confidential: https. Loopback: http on 127.0.0.1 or [::1], any port.
	RedirectURIs []string
	// Scope is the most that sign-ins may ask for, space-separated; it must
	// contain atproto. The first scopes asked for are the same unless
	// StartParams says otherwise. Servers compare spelling, not meaning.
	Scope string
	// Name, URI, LogoURI, TOSURI and PolicyURI are shown by servers. All may be
	// empty. URI must have the origin of ClientID.
	Name, URI, LogoURI, TOSURI, PolicyURI string
	// JWKSURI is where the client's keys are published; empty means
	// /oauth/jwks.json at the origin of ClientID.
	JWKSURI string
	// Keys are the keys of a confidential client; nil for a loopback client.
	Keys *KeySet
	// HTTP makes every request. It is copied: redirects are never followed and
	// cookies never kept, whatever it would do. Protection against private
	// addresses is the job of its transport: hosts come from strangers. Required.
	HTTP *http.Client
	// Directory resolves accounts, verified both ways. It is asked at the start
	// and again before a session is made, and must not answer from a cache
	// older than ten minutes. Required.
	Directory Directory
	// Attempts and Sessions keep state. Attempts is required for signing in,
	// Sessions for Session and for a Callback without create.
	Attempts AttemptStore
	Sessions SessionStore
	// Wake, if set, tells a process that waits for another one's refresh that the
	// row of a session may have changed, so that it need not poll for up to a
	// second more: changed gets a value then, until stop is called.
	Wake func(id string) (changed <-chan struct{}, stop func())
	// BeforePush, if set, is called with the issuer before a request is pushed
	// to it, to limit sign-ins per server. Its error is returned as it is.
	BeforePush func(ctx context.Context, issuer string) error
	// AllowLoopback lets servers be plain http on loopback addresses, for
	// development and tests.
	AllowLoopback bool
	// Timeout bounds each OAuth request, body included, and each look into the
	// directory; zero means 15 seconds.
	// Session.Do is bounded by the caller's context and HTTP alone.
	Timeout time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger gets the few things that no error tells, such as a clock that is
	// off; nil means silence. Secrets are never logged.
	Logger *slog.Logger
}

// Directory resolves an account to its identity. The SDK's identity.Directory
// is one.
type Directory interface {
	Lookup(ctx context.Context, account syntax.AtIdentifier) (*identity.Identity, error)
}

const defaultTimeout = 15 * time.Second

// Client is an OAuth client. It keeps nonces, clock offsets and pauses in bounded
// memory, and has goroutines only while it refreshes sessions; see Drain. Safe
// for concurrent use.
type Client struct {
	cfg      Config
	id       string // the client id that servers see
	loopback bool
	scopes   oauth.Scopes // declared
	http     *http.Client
	nonces   *dpop.Nonces
	clocks   *dpop.Clocks
	log      *slog.Logger
	flights  flights
	pauses   pauses
	forced   memory[time.Time] // by session: RefreshedAt of tokens that came because others were refused
}

// How much is remembered in memory, per half of the keepers.
const (
	nonceLimit = 20_000
	clockLimit = 2_000
)

// New checks cfg and makes a Client, without I/O. Its error lists every mistake
// with the reason why official servers would refuse it.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ClientID == "" {
		cfg.ClientID = LoopbackID
	}
	cfg.RedirectURIs = slices.Clone(cfg.RedirectURIs)
	c := &Client{
		cfg:    cfg,
		nonces: dpop.NewNonces(nonceLimit), clocks: dpop.NewClocks(clockLimit),
		log: cfg.Logger.With("component", "oauth_client"),
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.http = ownHTTP(cfg.HTTP)
	return c, nil
}

// check validates the configuration and derives the client id.
func (c *Client) check() error {
	var mistakes []error
	if c.cfg.HTTP == nil {
		mistakes = append(mistakes, errors.New("no HTTP client"))
	}
	if c.cfg.Directory == nil {
		mistakes = append(mistakes, errors.New("no directory"))
	}
	if c.cfg.Timeout < 0 {
		mistakes = append(mistakes, errors.New("the timeout is negative"))
	}
	scopes, err := oauth.ParseScopes(c.cfg.Scope)
	switch {
	case err != nil:
		mistakes = append(mistakes, err)
	case !scopes.Has(oauth.Atproto):
		mistakes = append(mistakes, fmt.Errorf("scope %q lacks atproto", c.cfg.Scope))
	}
	c.scopes = scopes
	if c.loopback = strings.HasPrefix(c.cfg.ClientID, "http:"); c.loopback {
		mistakes = append(mistakes, checkLoopback(c.cfg)...)
		c.id = LoopbackClientID(c.cfg.RedirectURIs, scopes.String())
	} else {
		mistakes = append(mistakes, checkConfidential(c.cfg)...)
		c.id = c.cfg.ClientID
	}
	if len(mistakes) > 0 {
		return fmt.Errorf("OAuth client configuration: %w", errors.Join(mistakes...))
	}
	return nil
}

// ownHTTP copies the caller's client so that redirects come back as they are
// and cookies are not kept.
func ownHTTP(given *http.Client) *http.Client {
	own := *given
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// ID returns the client id as servers see it.
func (c *Client) ID() string { return c.id }

// IsLoopback reports whether this is a public loopback client for development.
func (c *Client) IsLoopback() bool { return c.loopback }

// ClockSkew returns how far the clock of a server (an origin) is ahead of ours,
// as learnt from its last answer; zero when it agrees within five seconds or
// was not asked yet.
func (c *Client) ClockSkew(origin string) time.Duration { return c.clocks.Offset(origin) }

// now is our time; at is the time that a server has.
func (c *Client) now() time.Time             { return c.cfg.Now().UTC() }
func (c *Client) at(origin string) time.Time { return c.now().Add(c.clocks.Offset(origin)) }
