package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// communityPage is the data of community_show.
type communityPage struct {
	Community communityItem
	Policy    string // how posts are admitted; empty where another server decides
	MayEdit   bool
	MayReview bool
	Follow    followItem
	Block     blockItem
	List      listItem
	Form      postForm
}

// communityItem is a community with what it says about itself.
type communityItem struct {
	party
	Counts   string
	Banner   string
	Text     []block
	Warnings string
	Since    moment
	Founder  *party
}

// communityText is what pages read of a community's record.
type communityText struct {
	Name              string          `json:"name"`
	DisplayName       string          `json:"displayName"`
	Description       string          `json:"description"`
	DescriptionFacets json.RawMessage `json:"descriptionFacets"`
	Avatar            *wireBlob       `json:"avatar"`
	Banner            *wireBlob       `json:"banner"`
	Visibility        string          `json:"visibility"`
	ContentWarnings   []string        `json:"contentWarnings"`
	CreatedBy         syntax.DID      `json:"createdBy"`
}

func readCommunity(c index.Community) (is communityText, err error) {
	if err := json.Unmarshal(c.Record, &is); err != nil {
		return is, fmt.Errorf("read the record of community %s: %w", c.DID, err)
	}
	return is, nil
}

// party is the community as pages name it.
func (is communityText) party(a index.Account) party {
	place := index.Place{Account: a, Name: is.Name, DisplayName: is.DisplayName}
	if is.Avatar != nil {
		place.Avatar = is.Avatar.Ref.Link
	}
	return communityOf(place)
}

// findCommunity finds the community that the path of r names.
func (s *Server) findCommunity(r *http.Request) (index.Community, error) {
	did, err := s.cfg.Names.Locate(r.Context(), r.PathValue("community"), s.cfg.LookUps.Of(r, false))
	if err != nil {
		return index.Community{}, err
	}
	c, ok, err := s.cfg.Index.Community(r.Context(), did)
	if err == nil && !ok {
		err = errNoCommunity
	}
	return c, err
}

var errNoCommunity = fault.New(fault.NotFound, "There is no such community here, or it has gone.").WithCode("CommunityNotFound")

// communityShow answers GET /c/{community}: what it is, and its posts.
func (s *Server) communityShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	c, err := s.findCommunity(r)
	if err != nil {
		return err
	}
	data, err := s.newCommunityPage(r, v, c)
	if err != nil {
		return err
	}
	if !data.Block.Blocked {
		data.List, err = s.list(r, v, feed.Query{Listing: feed.Community, Community: c.DID}, emptyItem{
			Heading: "No posts yet", Words: "Nothing has been admitted in this order and time. The first post can be yours.",
		})
		if err != nil {
			return err
		}
	}
	return s.show(w, r, v, http.StatusOK, "community_show", data.Community.Label, data)
}

func (s *Server) newCommunityPage(r *http.Request, v visitor, c index.Community) (communityPage, error) {
	item, err := s.newCommunityItem(r.Context(), c)
	if err != nil {
		return communityPage{}, err
	}
	acting := string(v.did())
	data := communityPage{
		Community: item, Form: newPostForm(v.viewer(), newPostKey(), item.handle(), "", ""),
		Follow: followItem{Acting: acting, DID: c.DID.String(), Back: r.URL.RequestURI()},
		Block:  blockItem{Acting: acting, DID: c.DID.String(), Back: r.URL.RequestURI(), Kind: "community"},
	}
	if data.Policy, err = s.cfg.Communities.Explain(r.Context(), c.DID); err != nil {
		return data, err
	}
	if acting == "" {
		return data, nil
	}
	return data, s.standing(r.Context(), v.did(), c.DID, &data)
}

// standing fills in how a member stands to a community.
func (s *Server) standing(ctx context.Context, viewer, did syntax.DID, data *communityPage) error {
	stands, err := s.cfg.Index.Stands(ctx, index.SubscriptionCollection, viewer, did)
	if err != nil {
		return err
	}
	if len(stands) > 0 {
		data.Follow.Level = stands[0].Value
	}
	if data.Block.Blocked, err = s.blocks(ctx, viewer, index.CommunityBlockCollection, did); err != nil {
		return err
	}
	if data.Policy == "" {
		return nil // another server decides, whoever looks after it
	}
	if data.MayEdit, err = s.cfg.Communities.May(ctx, viewer, did, community.Settings); err != nil {
		return err
	}
	data.MayReview, err = s.cfg.Communities.May(ctx, viewer, did, community.Posts)
	return err
}

func (s *Server) newCommunityItem(ctx context.Context, c index.Community) (communityItem, error) {
	record, err := readCommunity(c)
	if err != nil {
		return communityItem{}, err
	}
	item := communityItem{
		party:    record.party(c.Account),
		Counts:   countsOf(c.Subscribers, c.Posts),
		Text:     richText(record.Description, parseFacets(record.DescriptionFacets, record.Description)),
		Warnings: strings.Join(record.ContentWarnings, ", "),
		Since:    momentOf(c.CreatedAt, s.now()),
	}
	item.Called = index.DisplayHandle(c.Account, record.Name, c.HostedBy, c.Hosted)
	if record.Banner != nil {
		item.Banner = imageURL("banner", c.DID, record.Banner.Ref.Link)
	}
	item.Founder, err = s.founder(ctx, record.CreatedBy)
	return item, err
}

// founder is who made a community, if it says so.
func (s *Server) founder(ctx context.Context, did syntax.DID) (*party, error) {
	if did == "" {
		return nil, nil //nolint:nilnil // a pointer for the template: nobody is named
	}
	known, err := s.cfg.Index.Accounts(ctx, []syntax.DID{did})
	if err != nil {
		return nil, err
	}
	account, ok := known[did]
	if !ok {
		account = index.Account{DID: did}
	}
	who := authorOf(index.Person{Account: account})
	return &who, nil
}

func countsOf(subscribers, posts int64) string {
	return counted(subscribers, "subscriber") + ", " + counted(posts, "post")
}
