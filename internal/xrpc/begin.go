package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/agent"
)

// begin is what procedures that write have in common: the input is read into
// in, and whoever asks pays for it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, who caller, in any) (agent.Actor, error) {
	if err := read(w, r, in); err != nil {
		return agent.Actor{}, err
	}
	if err := s.cfg.Writes.Spend(who.account.DID.String()); err != nil {
		return agent.Actor{}, err
	}
	return agent.Actor{DID: who.account.DID, SessionID: who.account.SessionID}, nil
}

// successView says that it is so now.
type successView struct {
	Success bool `json:"success"`
}
