package xrpc

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
)

// Limits of a page of communities.
const (
	communitiesDefault = 50
	communitiesMost    = 100
	// longestSearch is how long a text to look for may be, in bytes.
	longestSearch = 200
)

// communityView is social.coves.community.defs#communityView.
type communityView struct {
	DID           syntax.DID       `json:"did"`
	Handle        syntax.Handle    `json:"handle"`
	Name          string           `json:"name"`
	DisplayName   string           `json:"displayName,omitempty"`
	DisplayHandle string           `json:"displayHandle"`
	Avatar        string           `json:"avatar,omitempty"`
	Visibility    string           `json:"visibility"`
	Subscribers   int64            `json:"subscriberCount"`
	Members       int64            `json:"memberCount"`
	Posts         int64            `json:"postCount"`
	Viewer        *communityViewer `json:"viewer,omitempty"`
}

// communityViewer is how the caller stands to a community; absent for visitors.
type communityViewer struct {
	Subscribed bool `json:"subscribed"`
	Member     bool `json:"member"`
	Visibility int  `json:"contentVisibility,omitempty"`
	Blocked    bool `json:"blocked,omitempty"`
}

// communityDetails is social.coves.community.defs#communityViewDetailed.
type communityDetails struct {
	communityView
	Description string          `json:"description,omitempty"`
	Facets      json.RawMessage `json:"descriptionFacets,omitempty"`
	Banner      string          `json:"banner,omitempty"`
	CreatedBy   syntax.DID      `json:"createdBy"`
	HostedBy    syntax.DID      `json:"hostedBy"`
	Moderation  string          `json:"moderationType,omitempty"`
	Warnings    []string        `json:"contentWarnings"`
	CreatedAt   string          `json:"createdAt"`
}

// communityGet answers social.coves.community.get.
func (s *Server) communityGet(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	did, err := s.cfg.Names.Locate(r.Context(), params.Get("community"), s.lookUps(r, who))
	if err != nil {
		return err
	}
	c, ok, err := s.cfg.Index.Community(r.Context(), did)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NotFound, "There is no such community here.").WithCode("CommunityNotFound")
	}
	view := s.communityDetails(c)
	if who.account.DID != "" {
		v, err := s.cfg.Index.Viewer(r.Context(), who.account.DID)
		if err != nil {
			return err
		}
		m, err := s.cfg.Index.Membership(r.Context(), v, did)
		if err != nil {
			return err
		}
		view.Viewer = &communityViewer{m.Follows > 0, m.Member, m.Follows, m.Blocked}
	}
	return s.writeShared(w, r, who, view)
}

func (s *Server) communityDetails(c index.Community) communityDetails {
	var record struct {
		DisplayName string          `json:"displayName"`
		Description string          `json:"description"`
		Facets      json.RawMessage `json:"descriptionFacets"`
		Avatar      blob            `json:"avatar"`
		Banner      blob            `json:"banner"`
		CreatedBy   syntax.DID      `json:"createdBy"`
		Moderation  string          `json:"moderationType"`
		Warnings    []string        `json:"contentWarnings"`
	}
	_ = json.Unmarshal(c.Record, &record) // it has been validated
	if record.Warnings == nil {
		record.Warnings = []string{}
	}
	return communityDetails{
		communityView: communityView{
			DID: c.DID, Handle: shown(c.Handle), Name: c.Name, DisplayName: record.DisplayName,
			DisplayHandle: index.DisplayHandle(c.Account, c.Name, c.HostedBy, c.Hosted), Avatar: s.image("avatar", c.DID, record.Avatar.Ref.Link),
			Visibility: c.Visibility.String(), Subscribers: c.Subscribers, Members: c.Members, Posts: c.Posts,
		},
		Description: record.Description, Facets: record.Facets, Banner: s.image("banner", c.DID, record.Banner.Ref.Link),
		CreatedBy: record.CreatedBy, HostedBy: c.HostedBy, Moderation: record.Moderation, Warnings: record.Warnings,
		CreatedAt: datetime(c.CreatedAt),
	}
}

// communitiesView is a page of communities.
type communitiesView struct {
	Communities []communityView `json:"communities"`
	Cursor      string          `json:"cursor,omitempty"`
}

// communityList answers social.coves.community.list.
func (s *Server) communityList(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	q := index.CommunityQuery{}
	switch params.Get("sort") {
	case "", "popular":
		q.Order = index.ByFollowers
	case "active":
		q.Order = index.ByLife
	case "new":
		q.Order = index.ByFounding
	case "alphabetical":
		q.Order = index.Alphabetical
	default:
		return invalid(nil, "sort must be popular, active, new or alphabetical.")
	}
	var ok bool
	if q.Visibility, ok = index.ParseVisibility(params.Get("visibility")); !ok {
		return invalid(nil, "visibility must be public, unlisted or private.")
	}
	if q.Visibility == index.Unlisted {
		return invalid(nil, "Unlisted communities are not listed.")
	}
	switch params.Get("subscribed") {
	case "", "false":
	case "true":
		if q.Followed = true; who.account.DID == "" {
			return session.ErrSignedOut
		}
	default:
		return invalid(nil, "subscribed must be true or false.")
	}
	return s.communities(w, r, who, params, q)
}

// communitySearch answers social.coves.community.search.
func (s *Server) communitySearch(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	q := index.CommunityQuery{Order: index.ByFollowers, Text: strings.TrimSpace(params.Get("q"))}
	switch {
	case q.Text == "":
		return missingParameter("q")
	case len(q.Text) > longestSearch:
		return invalid(nil, "The text to look for is too long.")
	}
	return s.communities(w, r, who, params, q)
}

// communities answers with a page of q.
func (s *Server) communities(w http.ResponseWriter, r *http.Request, who caller, params url.Values, q index.CommunityQuery) error {
	var err error
	if q.Limit, err = limitOf(params, communitiesDefault, communitiesMost); err != nil {
		return err
	}
	listing := strings.Join([]string{"communities", params.Get("sort"), params.Get("visibility"), params.Get("subscribed"), q.Text, string(who.account.DID)}, " ")
	if text := params.Get("cursor"); text != "" {
		n, err := s.cfg.Cursors.Open(listing, text, 2)
		if err != nil {
			return err
		}
		q.After = &index.CommunityKey{Key: n[0], ID: n[1]}
	}
	v, err := s.cfg.Index.Viewer(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	list, next, err := s.cfg.Index.Communities(r.Context(), v, q)
	if err != nil {
		return err
	}
	out := communitiesView{Communities: make([]communityView, 0, len(list))}
	for _, c := range list {
		view := communityView{
			DID: c.DID, Handle: shown(c.Handle), Name: c.Name, DisplayName: c.DisplayName,
			DisplayHandle: index.DisplayHandle(c.Account, c.Name, c.HostedBy, c.Hosted), Avatar: s.image("avatar", c.DID, c.Avatar),
			Visibility: c.Visibility.String(), Subscribers: c.Subscribers, Members: c.Members, Posts: c.Posts,
		}
		if who.account.DID != "" {
			view.Viewer = &communityViewer{Subscribed: c.Follows > 0, Member: c.Member, Visibility: c.Follows}
		}
		out.Communities = append(out.Communities, view)
	}
	if next != nil {
		out.Cursor = s.cfg.Cursors.Seal(listing, next.Key, next.ID)
	}
	return s.writeShared(w, r, who, out)
}

// missingParameter is the error of a query that lacks what it needs.
func missingParameter(name string) error {
	return fault.New(fault.Invalid, "The parameter "+name+" is missing.").WithCode("InvalidRequest")
}
