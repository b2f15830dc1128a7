package web

import (
	"context"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/telemetry"
)

// ownRemoved tells whoever wrote a post that it is not there because its community
// removed it, and why. For everybody else err stays what it is.
func (s *Server) ownRemoved(ctx context.Context, err error, v visitor, uri syntax.ATURI) error {
	if fault.KindOf(err) != fault.NotFound || v.did() == "" || uri.Authority().String() != v.did().String() {
		return err
	}
	standing, ok, lookup := s.cfg.Index.Standing(ctx, uri)
	if lookup != nil {
		return lookup
	}
	if !ok || standing.State != index.Removed || standing.Removal == nil {
		return err
	}
	data := faultPage{Heading: "Removed by the community", What: "Your post is not shown here any more. " + removalWords(*standing.Removal),
		Do: "It is still in your repository, where other servers may find it.", Status: http.StatusNotFound,
		Links: []link{{URL: postURL(standing.Author, standing.RKey) + "/delete", Text: "Delete it there, too"}, {URL: "/", Text: "Home", Plain: true}}}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		data.RequestID = telemetry.RequestID(r.Context())
		return s.show(w, r, v, status, "fault_show", data.Heading, data)
	}}
}

// removalWords says why a post was removed, as the community did in public.
func removalWords(removal index.Removal) string {
	why := removal.Code
	for _, known := range removalCodes {
		if known.Value == removal.Code {
			why = known.Label
		}
	}
	words := "The reason given is: " + why + "."
	if removal.Reason != "" {
		words += " “" + removal.Reason + "”"
	}
	return words
}
