package xrpc

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/atoll-social/atoll/internal/feed"
)

// Limits of a page of a feed.
const (
	feedDefault = 15
	feedMost    = 50
)

// feedView is a page of posts. Cursor is absent on the last one.
type feedView struct {
	Feed   []feedPost `json:"feed"`
	Cursor string     `json:"cursor,omitempty"`
}

type feedPost struct {
	Post *postView `json:"post"`
}

// getDiscover answers social.coves.feed.getDiscover: posts of every public
// community that anybody may come across.
func (s *Server) getDiscover(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.feed(w, r, who, feed.Query{Listing: feed.Discover, Endpoint: "discover"})
}

// getAll answers social.coves.feed.getAll: posts of every public community.
func (s *Server) getAll(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.feed(w, r, who, feed.Query{Listing: feed.All, Endpoint: "all"})
}

// getTimeline answers social.coves.feed.getTimeline: what the caller follows.
func (s *Server) getTimeline(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.feed(w, r, who, feed.Query{Listing: feed.Home, Endpoint: "timeline"})
}

// getCommunityFeed answers social.coves.communityFeed.getCommunity.
func (s *Server) getCommunityFeed(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	did, err := s.cfg.Names.Locate(r.Context(), params.Get("community"), s.lookUps(r, who))
	if err != nil {
		return err
	}
	return s.feed(w, r, who, feed.Query{Listing: feed.Community, Community: did, Endpoint: "community"})
}

// feed answers with a page of q, whose sort, timeframe, limit and cursor are
// parameters. Long posts make shorter pages.
func (s *Server) feed(w http.ResponseWriter, r *http.Request, who caller, q feed.Query) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	if q.Sort, q.Timeframe, err = sorting(params); err != nil {
		return err
	}
	if q.Limit, err = limitOf(params, feedDefault, feedMost); err != nil {
		return err
	}
	q.Viewer, q.Cursor = who.account.DID, params.Get("cursor")
	page, err := s.cfg.Feeds.Page(r.Context(), q)
	if err != nil {
		return err
	}
	return s.writeFeed(w, r, who, page)
}

// writeFeed answers with a page of posts.
func (s *Server) writeFeed(w http.ResponseWriter, r *http.Request, who caller, page feed.Page) error {
	posts, err := s.postViews(r.Context(), who, page.Posts)
	if err != nil {
		return err
	}
	out := feedView{Feed: make([]feedPost, 0, len(posts)), Cursor: page.Cursor}
	for i := range posts {
		out.Feed = append(out.Feed, feedPost{&posts[i]})
	}
	return s.writeShared(w, r, who, out)
}

// parameters reads the query.
func parameters(r *http.Request) (url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid(err, "The parameters cannot be read.")
	}
	return params, nil
}

// sorting reads sort and timeframe.
func sorting(params url.Values) (feed.Sort, time.Duration, error) {
	sort, ok := feed.ParseSort(params.Get("sort"))
	if !ok {
		return 0, 0, invalid(nil, "sort must be hot, top or new.")
	}
	frame, ok := feed.ParseTimeframe(params.Get("timeframe"))
	if !ok {
		return 0, 0, invalid(nil, "timeframe must be hour, day, week, month, year or all.")
	}
	if sort != feed.Top {
		frame = 0
	}
	return sort, frame, nil
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
