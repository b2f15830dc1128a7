package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/index"
)

// getBlockedUsers answers social.coves.actor.getBlockedUsers: whom whoever asks
// has blocked, newest first.
func (s *Server) getBlockedUsers(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.listBlocks(w, r, who, index.PersonBlockCollection, func(b index.Block) blockedView {
		return blockedView{DID: b.Subject, URI: b.URI, CID: b.CID, At: datetime(b.At)}
	})
}
