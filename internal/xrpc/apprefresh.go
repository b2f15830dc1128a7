package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/keyring"
)

type appRefreshInput struct {
	DID         string `json:"did"`
	SessionID   string `json:"session_id"`
	SealedToken string `json:"sealed_token"`
}

type appRefreshView struct {
	AccessToken string `json:"access_token"`
	SealedToken string `json:"sealed_token"`
}

// appRefresh answers POST /oauth/refresh, by which existing mobile clients renew
// their session: the token that came with their callback, and each sealed token
// after it, is exchanged for an access token and the next. What they say about
// themselves besides must be right, but proves nothing.
func (s *Server) appRefresh(w http.ResponseWriter, r *http.Request) error {
	var in appRefreshInput
	if err := read(w, r, &in); err != nil {
		return err
	}
	if in.DID == "" || in.SessionID == "" || in.SealedToken == "" {
		return invalid(nil, "The fields did, session_id and sealed_token are needed.")
	}
	grant, err := s.cfg.Apps.RefreshFor(r.Context(), keyring.NewSecret(in.SealedToken), func(did, sessionID string) bool {
		return did == in.DID && sessionID == in.SessionID
	})
	if err != nil {
		return err
	}
	return write(w, appRefreshView{AccessToken: grant.Access.Reveal(), SealedToken: grant.Refresh.Reveal()})
}
