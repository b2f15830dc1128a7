package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// feedLimit is how many posts a page has at most.
const feedLimit = 25

// feedPage is the data of feed_show.
type feedPage struct {
	Heading, Lead string
	Other         *link // the list that shows more, or less; for members
	List          listItem
	Followed      []communityLine // the viewer's communities
	Newcomer      bool            // follows nothing: suggestions stand in place of posts
	Welcome       []suggestion
	Form          postForm
}

// listItem is a list of posts with its orders.
type listItem struct {
	Posts         []postItem
	Sorts, Frames []tab
	Begin, More   string // addresses; More is empty at the end
	Paged         bool   // not the first page
	Empty         emptyItem
}

// tab is one of several ways to see a page.
type tab struct {
	URL, Label string
	Current    bool
}

// emptyItem is what stands where nothing is.
type emptyItem struct {
	Heading, Words, Example string
	Links                   []link
}

// frames are the bounds of the order "top", as the address names them.
var frames = []struct {
	name, label string
	within      time.Duration
}{
	{"hour", "Hour", time.Hour},
	{"day", "Day", 24 * time.Hour},
	{"week", "Week", 7 * 24 * time.Hour},
	{"month", "Month", 30 * 24 * time.Hour},
	{"year", "Year", 365 * 24 * time.Hour},
	{"all", "All time", 0},
}

// homeFeed shows a member what they subscribe to.
func (s *Server) homeFeed(w http.ResponseWriter, r *http.Request, v visitor) error {
	followed, err := s.followed(r.Context(), v)
	if err != nil {
		return err
	}
	data := feedPage{Heading: "Home", Lead: "What you subscribe to, as much of each as you chose.", Followed: followed,
		Form: newPostForm(v.viewer(), newPostKey(), "", "", "")}
	if data.Newcomer = len(followed) == 0; data.Newcomer {
		data.Welcome, err = s.suggestions(r.Context(), v)
	} else {
		data.List, err = s.list(r, v, feed.Query{Listing: feed.Home}, emptyItem{
			Heading: "Quiet water", Words: "Your communities have no posts in this order yet.",
			Links: []link{{URL: "/communities", Text: "Find more communities"}, {URL: "/discover", Text: "Look around", Plain: true}},
		})
	}
	if err != nil {
		return err
	}
	data.Form.Community.Options = handlesOf(followed, nil)
	return s.show(w, r, v, http.StatusOK, "feed_show", "", data)
}

// discoverShow answers GET /discover: every public community, but what warns of
// hard things.
func (s *Server) discoverShow(w http.ResponseWriter, r *http.Request) error {
	return s.everywhere(w, r, feed.Discover, feedPage{Heading: "Discover", Lead: "Posts from every public community that this server hears of.",
		Other: &link{URL: "/all", Text: "Show also what comes with a content warning"}})
}

// allShow answers GET /all: every public community.
func (s *Server) allShow(w http.ResponseWriter, r *http.Request) error {
	return s.everywhere(w, r, feed.All, feedPage{Heading: "All", Lead: "Posts from every public community. Those with a content warning are folded.",
		Other: &link{URL: "/discover", Text: "Leave out what comes with a content warning"}})
}

func (s *Server) everywhere(w http.ResponseWriter, r *http.Request, listing feed.Listing, data feedPage) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	followed, err := s.followed(r.Context(), v)
	if err != nil {
		return err
	}
	list, err := s.list(r, v, feed.Query{Listing: listing}, s.emptyEverywhere())
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		data.Other = nil // strangers get the same on both
	}
	data.List, data.Followed, data.Form = list, followed, newPostForm(v.viewer(), newPostKey(), "", "", "")
	data.Form.Community.Options = handlesOf(followed, list.Posts)
	return s.show(w, r, v, http.StatusOK, "feed_show", data.Heading, data)
}

// emptyEverywhere says why there are no posts at all, to whoever can change it.
func (s *Server) emptyEverywhere() emptyItem {
	if s.cfg.Listening {
		return emptyItem{Heading: "Nothing here yet",
			Words: "This server is listening, and posts appear as they arrive. If you have just started it, give it a moment."}
	}
	return emptyItem{Heading: "Nothing here yet",
		Words: "This server does not listen to anything yet. Whoever runs it can add a source to atoll.toml, " +
			"a server whose posts shall appear here, and start Atoll again:",
		Example: "[[source]]\nkind = \"repos\"\nurl = \"https://pds.example.com\""}
}

// list reads a page of posts in the order that the address asks for.
func (s *Server) list(r *http.Request, v visitor, q feed.Query, empty emptyItem) (listItem, error) {
	params := r.URL.Query()
	out := listItem{Begin: r.URL.Path, Empty: empty}
	if err := out.order(params, &q); err != nil {
		return listItem{}, err
	}
	q.Endpoint, q.Limit, q.Cursor = "web", feedLimit, params.Get("cursor")
	out.Paged = q.Cursor != ""
	where := s.listSight(r, v)
	where.within, q.Viewer = q.Community, v.did()
	page, err := s.cfg.Feeds.Page(r.Context(), q)
	if err != nil {
		return listItem{}, err
	}
	out.More = nextURL(r, page.Cursor)
	out.Posts, err = s.items(r.Context(), page.Posts, where)
	return out, err
}

// items are posts for a list.
func (s *Server) items(ctx context.Context, posts []index.Post, where sight) (out []postItem, err error) {
	records := make([]json.RawMessage, len(posts))
	for i, p := range posts {
		records[i] = p.Record
	}
	if where.quotes, err = s.quotesIn(ctx, syntax.DID(where.acting), records); err != nil {
		return nil, err
	}
	for _, p := range posts {
		item, err := newPostItem(p, where)
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

// nextURL is the address of the next page, empty without a cursor.
func nextURL(r *http.Request, cursor string) string {
	if cursor == "" {
		return ""
	}
	params := r.URL.Query()
	params.Set("cursor", cursor)
	return r.URL.Path + "?" + params.Encode()
}

// order reads the order from the address, and makes the links to the others.
func (l *listItem) order(params url.Values, q *feed.Query) error {
	sort, frame := params.Get("sort"), params.Get("t")
	orders := []struct {
		name, label string
		is          feed.Sort
	}{{"hot", "Hot", feed.Hot}, {"top", "Top", feed.Top}, {"new", "New", feed.Newest}}
	if sort == "" {
		sort = "hot"
	}
	known := false
	for _, o := range orders {
		if o.name == sort {
			q.Sort, known = o.is, true
		}
		l.Sorts = append(l.Sorts, tab{URL: l.Begin + "?sort=" + o.name, Label: o.label, Current: o.name == sort})
	}
	if !known {
		return fault.New(fault.Invalid, "Posts can be ordered by hot, top or new.").WithCode("InvalidRequest")
	}
	if sort != "top" {
		return nil
	}
	if frame == "" {
		frame = "day"
	}
	known = false
	for _, f := range frames {
		if f.name == frame {
			q.Timeframe, known = f.within, true
		}
		l.Frames = append(l.Frames, tab{URL: l.Begin + "?sort=top&t=" + f.name, Label: f.label, Current: f.name == frame})
	}
	if !known {
		return fault.New(fault.Invalid, "The top posts are those of an hour, day, week, month, year, or of all time.").WithCode("InvalidRequest")
	}
	return nil
}

// listSight is how the visitor sees the list that r asks for.
func (s *Server) listSight(r *http.Request, v visitor) sight {
	return sight{acting: v.did().String(), back: r.URL.RequestURI(), now: s.now(), list: true}
}

// handlesOf are names to offer in the form for posts: the viewer's communities,
// else those of the page.
func handlesOf(followed []communityLine, posts []postItem) []string {
	var out []string
	for _, c := range followed {
		out = append(out, c.handle())
	}
	for _, p := range posts {
		if name := p.Community.handle(); len(followed) == 0 && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
