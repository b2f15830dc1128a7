package login

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// Upgrade is a member whose session lacks a permission for what they want.
type Upgrade struct {
	// DID and SessionID are the account that acts in this browser and its
	// session: the caller has seen the device's cookie.
	DID       syntax.DID
	SessionID string
	// Scope is what is missing, separated by spaces. Each must be one that the
	// client declares; what the session has is asked for again by itself.
	Scope string
	// ReturnTo is where they want to be afterwards; see the function ReturnTo.
	ReturnTo string
	Addr     netip.Addr
	// Cookies are those of the request.
	Cookies []*http.Cookie
}

// errUndeclared is for a form that nobody here has made.
var errUndeclared = fault.New(fault.Invalid, "That is no permission that this site asks for.").WithCode("InvalidRequest")

// Upgrade begins a sign-in that asks for more than the session has (S36). The
// way back is that of every sign-in. Until its end the session stays as it is;
// then the new one takes its place on the device in one step, and its server is
// told. Every error is a fault that says what to do, but for those of the
// context.
func (s *Service) Upgrade(ctx context.Context, in Upgrade) (Started, error) {
	own := appState{ReturnTo: ReturnTo(in.ReturnTo, s.cfg.Origin), Identifier: in.DID.String()}
	return s.bind(ctx, own, in.Addr, in.Cookies, func(ctx context.Context, state []byte) (*client.Started, error) {
		started, err := s.cfg.Client.Upgrade(ctx, in.SessionID, in.Scope, client.StartParams{AppState: state})
		var again *session.SignInAgainError
		switch {
		case errors.Is(err, client.ErrBadRequest):
			return nil, errors.Join(errUndeclared, err)
		case errors.Is(err, client.ErrNotFound) && !errors.As(err, &again): // ended so long ago that nothing is left of it
			return nil, errors.Join(&session.SignInAgainError{DID: in.DID}, err)
		}
		return started, err
	})
}
