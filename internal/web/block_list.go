package web

import (
	"net/http"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
)

// blocksPage is the data of blocks_list.
type blocksPage struct {
	Tabs  []tab
	Items []blockedItem
	Paged bool
	More  string
}

type blockedItem struct {
	party
	Block blockItem
}

// blockLimit is how many blocks a page lists.
const blockLimit = 50

// blockList answers GET /account/blocks: whom or which communities the member
// blocks, the newest first.
func (s *Server) blockList(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		return session.ErrSignedOut
	}
	kind, path, collection := "member", "/u/", index.PersonBlockCollection
	if r.URL.Query().Get("of") == "communities" {
		kind, path, collection = "community", "/c/", index.CommunityBlockCollection
	}
	after, err := blockCursor(r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	list, next, err := s.cfg.Index.Blocks(r.Context(), v.did(), collection, blockLimit, after)
	if err != nil {
		return err
	}
	var dids []syntax.DID
	for _, b := range list {
		dids = append(dids, b.Subject)
	}
	known, err := s.cfg.Index.Accounts(r.Context(), dids)
	if err != nil {
		return err
	}
	data := blocksPage{Paged: after != 0, Tabs: []tab{
		{URL: "/account/blocks", Label: "Members", Current: kind == "member"},
		{URL: "/account/blocks?of=communities", Label: "Communities", Current: kind == "community"},
	}}
	for _, b := range list {
		data.Items = append(data.Items, blockedItem{
			party: partyOf(path, "@", index.Account{DID: b.Subject, Handle: known[b.Subject].Handle}, "", ""),
			Block: blockItem{Acting: v.did().String(), DID: b.Subject.String(), Back: r.URL.RequestURI(), Kind: kind, Blocked: true},
		})
	}
	if next != 0 {
		data.More = nextURL(r, strconv.FormatInt(next, 36))
	}
	return s.show(w, r, v, http.StatusOK, "block_list", "Whom you block", data)
}

// blockCursor reads the place where a page of one's own blocks ended: nothing
// that is worth forging.
func blockCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	at, err := strconv.ParseInt(text, 36, 64)
	if err != nil {
		return 0, invalid(err, "This link to the next page is damaged. Begin again with the first.")
	}
	return at, nil
}
