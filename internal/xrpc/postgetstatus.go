package xrpc

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// statusView tells how a post stands in its community.
type statusView struct {
	Status     string       `json:"status"`
	Acceptance syntax.ATURI `json:"acceptanceUri,omitempty"`
	Removal    *removalView `json:"removal,omitempty"`
	// Policy explains how the community decides, where this server does.
	Policy string `json:"policy,omitempty"`
}

type removalView struct {
	Code   string `json:"code"`
	Reason string `json:"reason,omitempty"`
	At     string `json:"removedAt"`
}

// postGetStatus answers social.coves.community.post.getStatus.
func (s *Server) postGetStatus(w http.ResponseWriter, r *http.Request, _ caller) error {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid(err, "The parameters cannot be read.")
	}
	uri, err := syntax.ParseATURI(params.Get("uri"))
	if err != nil || uri.RecordKey() == "" {
		return invalid(err, "The parameter uri must be the AT-URI of a post.")
	}
	status, err := s.cfg.Communities.PostStatus(r.Context(), uri)
	if err != nil {
		return err
	}
	view := statusView{Status: status.State.String(), Acceptance: status.Acceptance}
	if status.Removal != nil {
		view.Removal = newRemovalView(status.Removal)
	}
	if status.Policy != nil {
		view.Policy = status.Policy.Explain()
	}
	return write(w, view)
}

func newRemovalView(removal *index.Removal) *removalView {
	return &removalView{Code: removal.Code, Reason: removal.Reason, At: datetime(removal.At)}
}
