package xrpc

import (
	"context"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
)

// meView is who is signed in.
type meView struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
}

// me answers GET /api/me (S26, S46): who is signed in; 401 with AuthRequired
// when nobody is, and with SignInAgain when the account's session has ended.
// Looking the cookie up slides the device's expiry, and a session that nears its
// end is renewed in the background.
func (s *Server) me(w http.ResponseWriter, r *http.Request, who caller) error {
	if !who.account.Live {
		return &session.SignInAgainError{DID: who.account.DID, Reason: who.account.Ended}
	}
	s.renewSoon(r.Context(), who.account.SessionID)
	return write(w, meView{DID: who.account.DID, Handle: shown(who.account.Handle)})
}

// renewSoon starts what need not be waited for: a session that cannot be read
// or renewed now is told apart by whoever uses it next.
func (s *Server) renewSoon(ctx context.Context, id string) {
	if s.cfg.Renewing == nil || id == "" {
		return
	}
	if live, err := s.cfg.Renewing.Session(ctx, id); err == nil {
		live.RefreshSoon(ctx)
	}
}

// shown is the handle for views, which must have one.
func shown(h syntax.Handle) syntax.Handle {
	if h == "" {
		return syntax.HandleInvalid
	}
	return h
}
