// Package login proves who somebody is, through their own server: it starts a
// sign-in, binds it to the browser that started it, and turns the way back into
// a signed-in device, a neutral refusal, or an error that says what to do.
package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// patience bounds what a page of a sign-in waits for, all in all. Each request
// to a server has a limit of its own, but there are several in a row, and the
// page must be answered within a minute.
const patience = 45 * time.Second

// Config is what a Service works with.
type Config struct {
	// Client signs members in. Its Attempts must be an *Attempts of this
	// package, its BeforePush should be PushLimit.Wait.
	Client   *client.Client
	Attempts *Attempts
	Sessions *session.Manager
	// Directory finds the handle to show for an account.
	Directory interface {
		LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error)
	}
	Cookies session.Cookies
	// Meet makes the account of somebody who has signed in one whose changes are
	// heard of from the network. It may be called often. Nil: nobody wants to know.
	Meet func(ctx context.Context, did syntax.DID) error
	// HandOffs keeps the sign-ins of apps; nil: there are none.
	HandOffs *HandOffs
	// Scope is what members are asked for when they sign in, some of what the
	// client declares; the rest is asked for when it is needed (Upgrade). Empty
	// means all of it.
	Scope string
	// Origin is the instance's own, such as https://example.org.
	Origin string
	// Limit is how many sign-ins one address may begin, and how many callbacks
	// it may send; zero means bursts of 30 and one more every two seconds. Its
	// network has sixteen times as much.
	Limit  httpserver.LimiterConfig
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service signs members in. It is safe for concurrent use.
type Service struct {
	cfg       Config
	starts    *httpserver.AddrLimiter
	callbacks *httpserver.AddrLimiter
	arrived   chan syntax.DID // who has signed in, for Run
	log       *slog.Logger
	now       func() time.Time
}

// New checks cfg and returns a Service. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.Client == nil || cfg.Attempts == nil || cfg.Sessions == nil || cfg.Directory == nil || cfg.Logger == nil || cfg.Origin == "" {
		return nil, errors.New("login: Client, Attempts, Sessions, Directory, Origin and Logger are required")
	}
	if cfg.Limit == (httpserver.LimiterConfig{}) {
		cfg.Limit = httpserver.LimiterConfig{Every: 2 * time.Second, Burst: 30}
	}
	starts, err := httpserver.NewAddrLimiter(cfg.Limit)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	callbacks, err := httpserver.NewAddrLimiter(cfg.Limit)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	s := &Service{cfg: cfg, starts: starts, callbacks: callbacks, arrived: make(chan syntax.DID, maxProfiles), log: cfg.Logger.With("component", "login"), now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Start is a member who wants to sign in.
type Start struct {
	// Identifier is what they typed: a handle, a DID, or their server's address.
	Identifier string
	// ReturnTo is where they want to be afterwards; see the function ReturnTo.
	ReturnTo string
	Addr     netip.Addr
	// Cookies are those of the request.
	Cookies []*http.Cookie
}

// Started is what the browser gets.
type Started struct {
	// URL is the member's server's sign-in page.
	URL string
	// Cookies are to be set: the attempt's binding, and removals of bindings
	// that are too many.
	Cookies []*http.Cookie
}

// Start begins a sign-in. Every error is a fault that says what to do, but for
// those of the context. Nothing is stored when it fails.
func (s *Service) Start(ctx context.Context, in Start) (Started, error) {
	input, err := identity.ParseInput(in.Identifier)
	if err != nil {
		return Started{}, explain(err)
	}
	own := appState{ReturnTo: ReturnTo(in.ReturnTo, s.cfg.Origin)}
	return s.begin(ctx, input, own, in.Addr, in.Cookies)
}

// begin starts an attempt at signing in.
func (s *Service) begin(ctx context.Context, input identity.Input, own appState, addr netip.Addr, sent []*http.Cookie) (Started, error) {
	own.Identifier = input.String()
	scope := s.cfg.Scope
	if own.App != "" {
		scope = "" // an app has no page on which to ask for more
	}
	return s.bind(ctx, own, addr, sent, func(ctx context.Context, state []byte) (*client.Started, error) {
		return s.cfg.Client.Start(ctx, client.StartParams{Account: input.Account, Server: input.Server, Scope: scope, AppState: state})
	})
}

// bind starts an attempt that is bound to the browser with these cookies.
func (s *Service) bind(ctx context.Context, own appState, addr netip.Addr, sent []*http.Cookie,
	start func(ctx context.Context, state []byte) (*client.Started, error)) (Started, error) {
	if err := s.starts.Spend(addr); err != nil {
		return Started{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	shown := shownBindings(s.cfg.Cookies, sent)
	if len(shown) > 0 {
		if err := s.cfg.Attempts.markOpened(ctx, shown[max(0, len(shown)-maxBindings):]); err != nil {
			return Started{}, explain(err)
		}
	}
	binding := newBinding(s.now())
	own.Binding, own.Origin = hashBinding(binding), session.Origin(addr)
	state, err := json.Marshal(own)
	if err != nil {
		return Started{}, explain(err)
	}
	started, err := start(ctx, state)
	if err != nil {
		return Started{}, explain(err)
	}
	cookies := append(makeRoom(s.cfg.Cookies, shown), bindingCookie(s.cfg.Cookies, started.State, binding))
	return Started{URL: started.URL, Cookies: cookies}, nil
}
