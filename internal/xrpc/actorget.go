package xrpc

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// Limits of a page of what somebody wrote.
const (
	writtenDefault = 50
	writtenMost    = 100
)

// profileView is social.coves.actor.defs#profileViewDetailed.
type profileView struct {
	DID         syntax.DID     `json:"did"`
	Handle      syntax.Handle  `json:"handle"`
	DisplayName string         `json:"displayName,omitempty"`
	Description string         `json:"description,omitempty"`
	Avatar      string         `json:"avatar,omitempty"`
	Banner      string         `json:"banner,omitempty"`
	CreatedAt   string         `json:"createdAt"`
	Stats       profileStats   `json:"stats"`
	Viewer      *profileViewer `json:"viewer,omitempty"`
}

type profileStats struct {
	Posts       int64 `json:"postCount"`
	Comments    int64 `json:"commentCount"`
	Communities int64 `json:"communityCount"`
}

// profileViewer is how the caller stands to somebody; absent for visitors.
type profileViewer struct {
	Blocking syntax.ATURI `json:"blocking,omitempty"`
}

// getProfile answers social.coves.actor.getProfile.
func (s *Server) getProfile(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	did, err := s.cfg.Names.LocatePerson(r.Context(), params.Get("actor"), s.lookUps(r, who))
	if err != nil {
		return err
	}
	p, ok, err := s.cfg.Index.Profile(r.Context(), did)
	if err != nil {
		return err
	}
	switch {
	case !ok && did == who.account.DID: // who has just come has a profile all the same
		p = index.Profile{Account: index.Account{DID: did, Handle: who.account.Handle}, CreatedAt: time.Now()}
	case !ok:
		return fault.New(fault.NotFound, "Nobody of this name has been seen here.").WithCode("ProfileNotFound")
	}
	view := s.profileView(p)
	if who.account.DID != "" {
		blocks, err := s.cfg.Index.Stands(r.Context(), index.PersonBlockCollection, who.account.DID, did)
		if err != nil {
			return err
		}
		view.Viewer = &profileViewer{}
		if len(blocks) > 0 {
			view.Viewer.Blocking = syntax.ATURI("at://" + string(who.account.DID) + "/" + string(index.PersonBlockCollection) + "/" + string(blocks[0].RKey))
		}
	}
	return s.writeShared(w, r, who, view)
}

func (s *Server) profileView(p index.Profile) profileView {
	var record struct {
		DisplayName string `json:"displayName"`
		Bio         string `json:"bio"`
		Avatar      blob   `json:"avatar"`
		Banner      blob   `json:"banner"`
	}
	_ = json.Unmarshal(p.Record, &record) // there may be none; what there is has been validated
	return profileView{
		DID: p.DID, Handle: shown(p.Handle), DisplayName: record.DisplayName, Description: record.Bio,
		Avatar: s.image("avatar", p.DID, record.Avatar.Ref.Link), Banner: s.image("banner", p.DID, record.Banner.Ref.Link),
		CreatedAt: datetime(p.CreatedAt), Stats: profileStats{p.Posts, p.Comments, p.Communities},
	}
}

// author reads what getPosts and getComments are asked.
func (s *Server) author(r *http.Request, who caller, endpoint string) (feed.AuthorQuery, error) {
	params, err := parameters(r)
	if err != nil {
		return feed.AuthorQuery{}, err
	}
	q := feed.AuthorQuery{Viewer: who.account.DID, Cursor: params.Get("cursor"), Endpoint: endpoint}
	if q.Limit, err = limitOf(params, writtenDefault, writtenMost); err != nil {
		return q, err
	}
	if text := params.Get("community"); text != "" {
		if q.Community, err = s.cfg.Names.Locate(r.Context(), text, s.lookUps(r, who)); err != nil {
			return q, err
		}
	}
	if q.Author, err = s.cfg.Names.LocatePerson(r.Context(), params.Get("actor"), s.lookUps(r, who)); err != nil {
		return q, err
	}
	_, ok, err := s.cfg.Index.Profile(r.Context(), q.Author)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "Nobody of this name has been seen here.").WithCode("ProfileNotFound")
	}
	return q, err
}

// getPosts answers social.coves.actor.getPosts.
func (s *Server) getPosts(w http.ResponseWriter, r *http.Request, who caller) error {
	q, err := s.author(r, who, "actor posts")
	if err != nil {
		return err
	}
	page, err := s.cfg.Feeds.PostsBy(r.Context(), q)
	if err != nil {
		return err
	}
	return s.writeFeed(w, r, who, page)
}

// commentsView is a page of comments.
type commentsView struct {
	Comments []commentView `json:"comments"`
	Cursor   string        `json:"cursor,omitempty"`
}

// getActorComments answers social.coves.actor.getComments.
func (s *Server) getActorComments(w http.ResponseWriter, r *http.Request, who caller) error {
	q, err := s.author(r, who, "actor comments")
	if err != nil {
		return err
	}
	comments, cursor, err := s.cfg.Feeds.CommentsBy(r.Context(), q)
	if err != nil {
		return err
	}
	quoted, err := s.quotedBy(r.Context(), who, comments)
	if err != nil {
		return err
	}
	out := commentsView{Comments: make([]commentView, 0, len(comments)), Cursor: cursor}
	for _, c := range comments {
		out.Comments = append(out.Comments, s.commentView(who, c, quoted))
	}
	return s.writeShared(w, r, who, out)
}
