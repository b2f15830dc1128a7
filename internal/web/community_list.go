package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// communityLimit is how many communities a page lists.
const communityLimit = 40

// communitiesPage is the data of community_list.
type communitiesPage struct {
	Search field
	Query  string
	Sorts  []tab
	Items  []suggestion
	More   string
}

// communityLine is a community in a list.
type communityLine struct {
	party
	Counts string
}

// suggestion is a community with the form to subscribe to it.
type suggestion struct {
	Community communityLine
	Follow    followItem
}

// communityList answers GET /communities.
func (s *Server) communityList(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	params := r.URL.Query()
	text := strings.TrimSpace(params.Get("q"))
	if len(text) > 300 || !cleanText(text) {
		return invalid(nil, "What to search for is a word or two.")
	}
	data := communitiesPage{Query: text, Search: field{
		Name: "q", Label: "Search communities", Value: text, Autocomplete: "off", Literal: true,
	}}
	q := index.CommunityQuery{Text: text, Limit: communityLimit}
	if err := data.order(params, &q); err != nil {
		return err
	}
	if err := s.communityCursor(params.Get("cursor"), &q); err != nil {
		return err
	}
	items, next, err := s.communities(r.Context(), v, q, r.URL.RequestURI())
	if err != nil {
		return err
	}
	data.Items = items
	if next != nil {
		params.Set("cursor", s.cfg.Cursors.Seal(communityBinding(q), next.Key, next.ID))
		data.More = "/communities?" + params.Encode()
	}
	return s.show(w, r, v, http.StatusOK, "community_list", "Communities", data)
}

func communityBinding(q index.CommunityQuery) string {
	return "web communities " + string('0'+rune(q.Order)) + " " + q.Text
}

func (s *Server) communityCursor(text string, q *index.CommunityQuery) error {
	if text == "" {
		return nil
	}
	at, err := s.cfg.Cursors.Open(communityBinding(*q), text, 2)
	if err == nil {
		q.After = &index.CommunityKey{Key: at[0], ID: at[1]}
	}
	return err
}

func (p *communitiesPage) order(params url.Values, q *index.CommunityQuery) error {
	sort, known := params.Get("sort"), false
	if sort == "" {
		sort = "popular"
	}
	for _, o := range []struct {
		name, label string
		is          index.CommunityOrder
	}{
		{"popular", "Most followed", index.ByFollowers}, {"active", "Liveliest", index.ByLife},
		{"new", "Newest", index.ByFounding}, {"alphabetical", "By name", index.Alphabetical},
	} {
		if o.name == sort {
			q.Order, known = o.is, true
		}
		p.Sorts = append(p.Sorts, tab{URL: "/communities?sort=" + o.name, Label: o.label, Current: o.name == sort})
	}
	if !known {
		return fault.New(fault.Invalid, "Communities can be ordered by popular, active, new or alphabetical.").WithCode("InvalidRequest")
	}
	return nil
}

// communities lists communities with the form to subscribe, for members.
func (s *Server) communities(ctx context.Context, v visitor, q index.CommunityQuery, back string) ([]suggestion, *index.CommunityKey, error) {
	viewer, err := s.cfg.Index.Viewer(ctx, v.did())
	if err != nil {
		return nil, nil, err
	}
	list, next, err := s.cfg.Index.Communities(ctx, viewer, q)
	if err != nil {
		return nil, nil, err
	}
	var out []suggestion
	for _, c := range list {
		out = append(out, suggestion{
			Community: communityLine{communityOf(c.Place), countsOf(c.Subscribers, c.Posts)},
			Follow:    followItem{Acting: v.did().String(), DID: c.DID.String(), Level: c.Follows, Back: back},
		})
	}
	return out, next, nil
}

// Bounds of what stands beside the posts.
const (
	followedShown = 50
	suggested     = 8
)

// followed lists what the visitor subscribes to, by name.
func (s *Server) followed(ctx context.Context, v visitor) ([]communityLine, error) {
	if v.viewer() == nil {
		return nil, nil
	}
	items, _, err := s.communities(ctx, v, index.CommunityQuery{Order: index.Alphabetical, Followed: true, Limit: followedShown}, "/")
	var out []communityLine
	for _, i := range items {
		out = append(out, i.Community)
	}
	return out, err
}

// suggestions are communities for somebody who subscribes to none.
func (s *Server) suggestions(ctx context.Context, v visitor) ([]suggestion, error) {
	items, _, err := s.communities(ctx, v, index.CommunityQuery{Order: index.ByFollowers, Limit: suggested}, "/")
	return items, err
}
