package xrpc

import (
	"context"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/session"
)

// Standings says how members can be acted for; agent.Agent does.
type Standings interface {
	Standing(ctx context.Context, did syntax.DID) (agent.Standing, error)
}

// standingView is how whoever asks stands with this instance.
type standingView struct {
	DID       syntax.DID    `json:"did"`
	Handle    syntax.Handle `json:"handle"`
	PDS       string        `json:"pds,omitempty"`
	State     agent.State   `json:"state"`          // connected, needs_sign_in, needs_scope, inactive
	Mend      agent.Mending `json:"mend,omitempty"` // sign_in, upgrade, new_password
	Way       agent.Way     `json:"way,omitempty"`  // oauth, app-password, hosted
	Scopes    []string      `json:"scopes"`
	Missing   []string      `json:"missing"`
	ExpiresAt string        `json:"expiresAt,omitempty"`
	Ways      []wayView     `json:"ways"`
}

type wayView struct {
	Way  agent.Way `json:"way"`
	Open bool      `json:"open"`
	Why  string    `json:"why"`
}

// meStanding answers GET /api/me/standing (A10): whether and how Atoll can act
// for whoever asks, and what to do if it cannot.
func (s *Server) meStanding(w http.ResponseWriter, r *http.Request, who caller) error {
	if !who.account.Live {
		return &session.SignInAgainError{DID: who.account.DID, Reason: who.account.Ended}
	}
	at, err := s.cfg.Standings.Standing(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	v := standingView{DID: at.DID, Handle: shown(at.Handle), PDS: at.PDS, State: at.State, Mend: at.Mend, Way: at.Way,
		Scopes: append([]string{}, at.Scopes...), Missing: append([]string{}, at.Missing...)}
	if !at.ExpiresAt.IsZero() {
		v.ExpiresAt = datetime(at.ExpiresAt)
	}
	for _, way := range at.Ways {
		v.Ways = append(v.Ways, wayView{way.Way, way.Open, way.Why})
	}
	return write(w, v)
}
