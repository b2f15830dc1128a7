package xrpc

import (
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
)

// blockView is the record of a block.
type blockView struct {
	Block blockRecord `json:"block"`
}

type blockRecord struct {
	URI syntax.ATURI `json:"recordUri"`
	CID syntax.CID   `json:"recordCid"`
}

func newBlockView(r community.Record) blockView { return blockView{blockRecord{r.URI, r.CID}} }

// blockCommunity answers social.coves.community.blockCommunity: whoever asks
// sees nothing of a community any more.
func (s *Server) blockCommunity(w http.ResponseWriter, r *http.Request, who caller) error {
	var in communityInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	done, err := s.cfg.Communities.BlockCommunity(r.Context(), actor, in.Community)
	if err != nil {
		return err
	}
	return write(w, newBlockView(done))
}
