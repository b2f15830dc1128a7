package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth"
)

// State is whether an account can be acted for.
type State string

// The states.
const (
	Connected   State = "connected"
	WantsSignIn State = "needs_sign_in"
	WantsScope  State = "needs_scope" // signed in, and something that Atoll does was not allowed
	Inactive    State = "inactive"    // the account is not active at its server
)

// Mending says how to get from a state to Connected.
type Mending string

// The ways to mend. Empty: there is nothing to mend, or not here.
const (
	MendBySignIn      Mending = "sign_in"
	MendByUpgrade     Mending = "upgrade"      // sign in again and allow more
	MendByNewPassword Mending = "new_password" // give another app password
)

// Standing is how an account stands with this instance (A10). It holds no secret.
type Standing struct {
	DID    syntax.DID
	Handle syntax.Handle // empty when none can be verified
	PDS    string        // origin; empty when it cannot be found out now
	State  State
	Mend   Mending
	Way    Way // that is taken; ByNothing when none is open

	// SessionID names the newest session that can be used; empty: none can.
	SessionID string
	Scopes    []string  // that session's, as granted
	Missing   []string  // of what Atoll asks for
	ExpiresAt time.Time // when that session ends unless it is renewed; zero when unknown

	// Ways are those that there are, in the order in which they are tried.
	Ways []WayStanding
}

// WayStanding is how one way stands for an account.
type WayStanding struct {
	Way  Way
	Open bool
	Why  string // a sentence: why it is open, or what is in its way
	// Given says that the member has given an app password, good or not.
	Given bool
}

// Standing looks an account up. It asks the network for nothing but the identity.
func (a *Agent) Standing(ctx context.Context, did syntax.DID) (Standing, error) {
	s := Standing{DID: did}
	if ident, err := a.cfg.Directory.LookupDID(ctx, did); err == nil {
		if !ident.Handle.IsInvalidHandle() {
			s.Handle = ident.Handle
		}
		if origin, err := a.cfg.Directory.PDS(ident); err == nil {
			s.PDS = origin
		}
	}
	if a.cfg.Hosted != nil {
		_, hosted, err := a.cfg.Hosted.Doer(ctx, did)
		if err != nil {
			return Standing{}, fmt.Errorf("look up %s: %w", did, err)
		}
		if hosted {
			s.State, s.Way = Connected, ByHosted
			s.Ways = []WayStanding{{Way: ByHosted, Open: true, Why: "This account is kept here, and used with its own credential."}}
			return s, nil
		}
	}
	if err := a.stand(ctx, &s); err != nil {
		return Standing{}, fmt.Errorf("look up %s: %w", did, err)
	}
	return s, nil
}

// stand fills in how each way stands, and what follows.
func (a *Agent) stand(ctx context.Context, s *Standing) error {
	byOAuth, err := a.standByOAuth(ctx, s)
	if err != nil {
		return err
	}
	byPassword, refused, err := a.standByPassword(ctx, s)
	if err != nil {
		return err
	}
	s.Ways = []WayStanding{byOAuth, byPassword}
	if a.cfg.Writes == ByAppPassword {
		s.Ways = []WayStanding{byPassword, byOAuth}
	}
	relay := WayStanding{Way: ByRelay, Open: a.cfg.Relay != nil, Why: "This instance has no relay account."}
	if relay.Open {
		relay.Why = "Only for invitations, in posts of the instance's own account that name you."
	}
	s.Ways = append(s.Ways, relay)
	for _, w := range s.Ways {
		if w.Open && w.Way != ByRelay {
			s.Way = w.Way
			break
		}
	}
	switch {
	case s.State == Inactive:
		s.Way = ByNothing
	case byPassword.Open:
		s.State, s.Mend = Connected, ""
	case s.State == WantsSignIn && refused:
		s.Mend = MendByNewPassword
	}
	return nil
}

func (a *Agent) standByOAuth(ctx context.Context, s *Standing) (WayStanding, error) {
	closed := WayStanding{Way: ByOAuth, Why: "You are not signed in through your server."}
	s.State, s.Mend = WantsSignIn, MendBySignIn
	if a.cfg.Sessions == nil {
		return closed, nil
	}
	paused, _, err := a.cfg.Sessions.List(ctx, session.Query{DID: s.DID, State: session.StatePaused, Limit: 1})
	if err != nil {
		return closed, err
	}
	if len(paused) > 0 {
		s.State, s.Mend = Inactive, ""
		return WayStanding{Way: ByOAuth, Why: "Your server says that your account is not active there."}, nil
	}
	live, _, err := a.cfg.Sessions.List(ctx, session.Query{DID: s.DID, State: session.StateLive})
	if err != nil {
		return closed, err
	}
	for _, one := range live {
		switch {
		case one.State == session.StateUnusable:
			continue
		case s.PDS != "" && one.PDS != s.PDS:
			closed.Why = "Your account has moved to another server since you signed in."
			continue
		}
		granted := oauth.GrantedScopes(one.Scope)
		s.SessionID, s.Scopes, s.ExpiresAt = one.ID, granted.List(), one.RefreshExpiresAt
		s.State, s.Mend = Connected, ""
		open := WayStanding{Way: ByOAuth, Open: true, Why: "You are signed in through your server."}
		if missing := granted.Missing(oauth.GrantedScopes(a.cfg.Scope)); !missing.IsEmpty() && !granted.HasIncludes() {
			s.Missing, s.State, s.Mend = missing.List(), WantsScope, MendByUpgrade
			open.Why = "You are signed in through your server, and have not allowed everything."
		}
		return open, nil
	}
	return closed, nil
}

func (a *Agent) standByPassword(ctx context.Context, s *Standing) (w WayStanding, refused bool, err error) {
	w = WayStanding{Way: ByAppPassword, Why: "You have given no app password."}
	if a.cfg.Passwords == nil {
		w.Why = "App passwords cannot be given here."
		return w, false, nil
	}
	info, given, err := a.cfg.Passwords.Info(ctx, s.DID)
	w.Given = given
	switch {
	case err != nil || !given:
	case !info.RefusedAt.IsZero():
		w.Why, refused = "Your server does not take the app password any more that you gave.", true
	case s.PDS != "" && info.PDS != s.PDS:
		w.Why = "The app password that you gave is for the server that your account was at before."
	default:
		w.Open, w.Why = true, "You have given an app password, and your server takes it."
	}
	return w, refused, err
}
