package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// Callback is a browser that comes back from a member's server.
type Callback struct {
	Query url.Values
	// Cookies are those of the request, Token the device cookie among them.
	Cookies   []*http.Cookie
	Token     keyring.Secret
	Addr      netip.Addr
	UserAgent string
}

// Result says how a sign-in ended.
type Result uint8

// The results. The zero value comes with an error.
const (
	Failed   Result = iota
	SignedIn        // Outcome.DID is signed in and active on this device
	Declined        // the member said no; nothing has changed
)

// Outcome is what a callback came to. It is meaningful with an error, too.
type Outcome struct {
	Result Result
	// DID is who is signed in; otherwise whose sign-in it was, as far as known.
	DID syntax.DID
	// Identifier is what the member typed to begin it, so that trying again is
	// one click; empty when unknown.
	Identifier string
	// ReturnTo is a local path: where the member came from, "/" when unknown.
	ReturnTo string
	// Upgrade says that it asked for more permissions than a session has, which
	// lives on if the member declined.
	Upgrade bool
	// App is the sign-in of an app that this was, and ReturnTo then its page or
	// the app's own address; empty for a browser's own sign-in.
	App string
	// Cookies are to be set whatever the result: the device cookie, and the
	// removal of the binding.
	Cookies []*http.Cookie
}

// Callback ends a sign-in. Before anything is sent or used up, the browser must
// show that it is the one that started (S13). Every error is a fault that says
// what to do, but for those of the context; after an error nobody is signed in
// and nothing is stored.
func (s *Service) Callback(ctx context.Context, in Callback) (Outcome, error) {
	out := Outcome{ReturnTo: "/"}
	if err := s.callbacks.Spend(in.Addr); err != nil {
		return out, err
	}
	// Once the code is sent, the client goes on without this context; what
	// comes of it too late for the browser to hear of is not saved, but revoked.
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	state, err := single(in.Query, "state")
	if err != nil {
		return out, explain(err)
	}
	attempt, err := s.cfg.Client.Peek(ctx, state)
	if err != nil {
		return out, explain(err)
	}
	var own appState
	if err := json.Unmarshal(attempt.AppState, &own); err != nil {
		return out, explain(fmt.Errorf("callback: read own state: %w", err))
	}
	if !holdsBinding(s.cfg.Cookies, in.Cookies, state, own.Binding) {
		s.noteOtherBrowser(ctx, in, attempt)
		return out, fault.New(fault.Forbidden,
			"This sign-in was not started in this browser, so it was refused. Start again here, with cookies allowed.").WithCode("OtherBrowser")
	}
	out.DID, out.Identifier, out.ReturnTo = attempt.Account, own.Identifier, own.ReturnTo
	out.Upgrade = attempt.Replaces != ""
	out.Cookies = []*http.Cookie{s.cfg.Cookies.Make(bindingSuffix(state), "", 0)}
	if own.App != "" {
		return s.comeBack(ctx, in, attempt, own, out)
	}
	return s.finish(ctx, in, attempt, out)
}

// finish lets the client end the attempt and stores the session.
func (s *Service) finish(ctx context.Context, in Callback, attempt *client.Attempt, out Outcome) (Outcome, error) {
	var signedIn session.SignedIn
	data, _, err := s.cfg.Client.Callback(ctx, in.Query, func(ctx context.Context, data *client.SessionData, a *client.Attempt) error {
		var err error
		signedIn, err = s.cfg.Sessions.SignIn(ctx, session.SignIn{
			Token: in.Token, Session: data, Handle: s.handle(ctx, data.DID), UserAgent: in.UserAgent, Addr: in.Addr,
			Upgrades: a.Replaces,
		})
		return saving(err)
	})
	switch {
	case errors.Is(err, client.ErrDenied):
		s.note(ctx, in, attempt, session.KindDeclined, attempt.Issuer)
		out.Result = Declined
		return out, nil
	case err != nil:
		// An attempt that another callback took is that one's to report.
		if !errors.Is(err, client.ErrUnknownState) {
			s.note(ctx, in, attempt, session.KindSignInRefused, detail(err))
		}
		return out, explain(err)
	}
	out.Result, out.DID = SignedIn, data.DID
	offer(s.arrived, data.DID)
	out.Cookies = append(out.Cookies, s.cfg.Cookies.DeviceCookie(signedIn.Token))
	return out, nil
}

// handle returns the account's handle for display, empty when it has none that
// can be verified now.
func (s *Service) handle(ctx context.Context, did syntax.DID) syntax.Handle {
	found, err := s.cfg.Directory.LookupDID(ctx, did)
	if err != nil || found.Handle.IsInvalidHandle() {
		return ""
	}
	return found.Handle
}

// note writes the audit row of a sign-in that came back and got nowhere.
func (s *Service) note(ctx context.Context, in Callback, a *client.Attempt, kind session.Kind, detail string) {
	err := s.cfg.Sessions.Record(context.WithoutCancel(ctx), session.Entry{
		Kind: kind, DID: a.Account, Origin: session.Origin(in.Addr), Detail: detail,
	})
	if err != nil {
		s.log.ErrorContext(ctx, "sign-in without audit row", "kind", kind, "error", err)
	}
}

// noteOtherBrowser notes it once for an attempt: who began one and keeps its
// cookie back could otherwise fill the audit trail of whom they named.
func (s *Service) noteOtherBrowser(ctx context.Context, in Callback, a *client.Attempt) {
	first, err := s.cfg.Attempts.markRefused(ctx, a.State)
	if err != nil {
		s.log.ErrorContext(ctx, "sign-in without audit row", "kind", session.KindSignInRefused, "error", err)
	}
	if first {
		s.note(ctx, in, a, session.KindSignInRefused, "other_browser")
	}
}

// single returns the only value of a parameter.
func single(q url.Values, name string) (string, error) {
	if len(q[name]) != 1 {
		return "", fmt.Errorf("%w: want %s once", client.ErrBadCallback, name)
	}
	return q[name][0], nil
}
