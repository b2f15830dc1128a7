package xrpc

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// Limits of a page of blocks.
const (
	blocksDefault = 50
	blocksMost    = 100
)

// blockedView is one block in a list. One of the first two names whom it is on.
type blockedView struct {
	DID       syntax.DID   `json:"blockedDid,omitempty"`
	Community syntax.DID   `json:"communityDid,omitempty"`
	URI       syntax.ATURI `json:"recordUri"`
	CID       syntax.CID   `json:"recordCid,omitempty"`
	At        string       `json:"blockedAt"`
}

// blocksView is a page of them. Cursor is absent on the last one.
type blocksView struct {
	Blocks []blockedView `json:"blocks"`
	Cursor string        `json:"cursor,omitempty"`
}

// getBlockedCommunities answers social.coves.community.getBlockedCommunities:
// what whoever asks has blocked, newest first.
func (s *Server) getBlockedCommunities(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.listBlocks(w, r, who, index.CommunityBlockCollection, func(b index.Block) blockedView {
		return blockedView{Community: b.Subject, URI: b.URI, CID: b.CID, At: datetime(b.At)}
	})
}

func (s *Server) listBlocks(w http.ResponseWriter, r *http.Request, who caller, collection syntax.NSID, view func(index.Block) blockedView) error {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid(err, "The parameters cannot be read.")
	}
	limit, err := limitOf(params, blocksDefault, blocksMost)
	if err != nil {
		return err
	}
	listing := collection.String() + " of " + who.account.DID.String()
	var after int64
	if cursor := params.Get("cursor"); cursor != "" {
		at, err := s.cfg.Cursors.Open(listing, cursor, 1)
		if err != nil {
			return err
		}
		after = at[0]
	}
	blocks, next, err := s.cfg.Index.Blocks(r.Context(), who.account.DID, collection, limit, after)
	if err != nil {
		return err
	}
	page := blocksView{Blocks: make([]blockedView, 0, len(blocks))}
	for _, b := range blocks {
		page.Blocks = append(page.Blocks, view(b))
	}
	if next != 0 {
		page.Cursor = s.cfg.Cursors.Seal(listing, next)
	}
	return write(w, page)
}
