package xrpc

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/post"
)

// Limits of a page of Discover.
const (
	discoverDefault = 15
	discoverMost    = 50
)

// feedView is a page of posts. Cursor is absent on the last one.
type feedView struct {
	Feed   []feedPost `json:"feed"`
	Cursor string     `json:"cursor,omitempty"`
}

type feedPost struct {
	Post postView `json:"post"`
}

// getDiscover answers social.coves.feed.getDiscover: posts of every community,
// newest first. Long posts make shorter pages.
func (s *Server) getDiscover(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid(err, "The parameters cannot be read.")
	}
	limit, err := limitOf(params, discoverDefault, discoverMost)
	if err != nil {
		return err
	}
	if sort := params.Get("sort"); sort != "" && sort != "new" {
		return invalid(nil, "Discover can be sorted by new only.")
	}
	listing := "social.coves.feed.getDiscover new " + who.account.DID.String()
	var after *index.Position
	if cursor := params.Get("cursor"); cursor != "" {
		at, err := s.cfg.Cursors.Open(listing, cursor)
		if err != nil {
			return err
		}
		after = &at
	}
	posts, next, err := post.Newest(r.Context(), s.cfg.Index, limit, after)
	if err != nil {
		return err
	}
	page := feedView{Feed: make([]feedPost, 0, len(posts))}
	for _, p := range posts {
		page.Feed = append(page.Feed, feedPost{newPostView(p)})
	}
	if next != nil {
		page.Cursor = s.cfg.Cursors.Seal(listing, *next)
	}
	return write(w, page)
}

// limitOf reads how many items a page is to have.
func limitOf(params url.Values, otherwise, most int) (int, error) {
	text := params.Get("limit")
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid(err, "limit must be a number from 1 to "+strconv.Itoa(most)+".")
	}
	return n, nil
}
