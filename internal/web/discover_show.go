package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

const (
	// discoverLimit is how many posts a page of Discover has at most.
	discoverLimit = 30
	// longText is from how many bytes on a text gets a frame of its own.
	longText = 3000
)

// discoverShow answers GET /discover: the newest posts, page by page.
func (s *Server) discoverShow(w http.ResponseWriter, r *http.Request) error {
	cursor := r.URL.Query().Get("cursor")
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	page, err := s.cfg.Feeds.Page(r.Context(), feed.Query{Listing: feed.Discover, Sort: feed.Newest, Viewer: v.did(),
		Limit: discoverLimit, Cursor: cursor, Endpoint: "web"})
	if err != nil {
		return err
	}
	data := discoverPage{Listening: s.cfg.Listening, Paged: cursor != "", Form: newPostForm(v.viewer(), newPostKey(), "", "", "")}
	now := s.now()
	for _, p := range page.Posts {
		item, err := newPostItem(p, now)
		if err != nil {
			return fmt.Errorf("show post %s: %w", p.URI(), err)
		}
		data.Posts = append(data.Posts, item)
		if name := strings.TrimPrefix(item.Community.Name(), "@"); !slices.Contains(data.Form.Community.Options, name) {
			data.Form.Community.Options = append(data.Form.Community.Options, name)
		}
	}
	if page.Cursor != "" {
		data.Older = "/discover?" + url.Values{"cursor": {page.Cursor}}.Encode()
	}
	return s.show(w, r, v, http.StatusOK, "discover_show", "Discover", data)
}

// postStates says how admission shows. An admitted post needs no words.
var postStates = map[index.State]postState{
	index.Pending:             {Class: "waiting", Words: "Not admitted by the community yet"},
	index.PendingReacceptance: {Class: "waiting", Words: "Changed since it was admitted; the community looks at it again"},
	index.Rejected:            {Class: "refused", Words: "Not admitted by the community"},
	index.Removed:             {Class: "refused", Words: "Removed by the community"},
}

func newPostItem(p index.Post, now time.Time) (postItem, error) {
	var record struct {
		Title   string          `json:"title"`
		Content string          `json:"content"`
		Facets  json.RawMessage `json:"facets"`
	}
	if err := json.Unmarshal(p.Record, &record); err != nil {
		return postItem{}, err
	}
	return postItem{
		Anchor:    postAnchor(p.Author.DID.String(), p.RKey.String()),
		Community: person{DID: p.Community.DID.String(), Handle: shownHandle(p.Community.Handle)},
		Author:    person{DID: p.Author.DID.String(), Handle: shownHandle(p.Author.Handle)},
		When:      momentOf(p.CreatedAt, now),
		Edited:    !p.EditedAt.IsZero(),
		Title:     record.Title,
		Text:      richText(record.Content, parseFacets(record.Facets, record.Content)),
		Long:      len(record.Content) > longText,
		State:     postStates[p.State],
	}, nil
}

// postAnchor is the id of a post's element, unique on the network.
func postAnchor(author, rkey string) string { return author + "/" + rkey }
