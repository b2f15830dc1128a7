package xrpc

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// postView is social.coves.feed.defs#postView.
type postView struct {
	URI       syntax.ATURI     `json:"uri"`
	CID       syntax.CID       `json:"cid"`
	RKey      syntax.RecordKey `json:"rkey"`
	Author    authorView       `json:"author"`
	Record    json.RawMessage  `json:"record"`
	Community communityRef     `json:"community"`
	Embed     any              `json:"embed,omitempty"`
	CreatedAt string           `json:"createdAt"`
	IndexedAt string           `json:"indexedAt"`
	EditedAt  string           `json:"editedAt,omitempty"`
	Stats     postStats        `json:"stats"`
	Viewer    *postViewer      `json:"viewer,omitempty"`
	Status    string           `json:"status"`
}

// authorView is social.coves.feed.defs#authorView.
type authorView struct {
	DID         syntax.DID    `json:"did"`
	Handle      syntax.Handle `json:"handle"`
	DisplayName string        `json:"displayName,omitempty"`
	Avatar      string        `json:"avatar,omitempty"`
}

// communityRef is social.coves.feed.defs#communityRef.
type communityRef struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
	Name   string        `json:"name"`
	Avatar string        `json:"avatar,omitempty"`
	Viewer *refViewer    `json:"viewer,omitempty"`
}

type refViewer struct {
	Subscribed bool `json:"subscribed"`
}

// postStats are integers, never null.
type postStats struct {
	Upvotes      int64 `json:"upvotes"`
	Downvotes    int64 `json:"downvotes"`
	Score        int64 `json:"score"`
	CommentCount int64 `json:"commentCount"`
}

// postViewer is how the caller stands to a post; absent for visitors.
type postViewer struct {
	voteViewer
	Saved bool `json:"saved"`
}

// voteViewer is the caller's vote.
type voteViewer struct {
	Vote    string       `json:"vote,omitempty"`
	VoteURI syntax.ATURI `json:"voteUri,omitempty"`
}

func newVoteViewer(v *index.Vote) voteViewer {
	switch {
	case v == nil:
		return voteViewer{}
	case v.Up:
		return voteViewer{"up", v.URI}
	}
	return voteViewer{"down", v.URI}
}

// postViews shows posts, with what they quote.
func (s *Server) postViews(ctx context.Context, who caller, posts []index.Post) ([]postView, error) {
	out := make([]postView, len(posts))
	embeds := make([]embed, len(posts))
	var quoted []syntax.ATURI
	for i, p := range posts {
		out[i], embeds[i] = s.postView(p), readEmbed(p.Record)
		if uri := embeds[i].Post.URI; uri != "" {
			quoted = append(quoted, uri)
		}
	}
	found, err := s.quotes(ctx, who, quoted)
	if err != nil {
		return nil, err
	}
	for i, p := range posts {
		out[i].Embed = s.embedView(p.Author.DID, embeds[i], found)
	}
	return out, nil
}

// postView shows a post without its embed.
func (s *Server) postView(p index.Post) postView {
	v := postView{
		URI: p.URI(), CID: p.CID, RKey: p.RKey, Record: p.Record, Author: s.authorView(p.Author), Community: s.communityRef(p),
		CreatedAt: datetime(p.CreatedAt), IndexedAt: datetime(p.IndexedAt), Status: p.State.String(),
		Stats: postStats{p.Upvotes, p.Downvotes, p.Upvotes - p.Downvotes, p.Comments},
	}
	if !p.EditedAt.IsZero() {
		v.EditedAt = datetime(p.EditedAt)
	}
	if p.Viewer != nil {
		v.Viewer = &postViewer{voteViewer: newVoteViewer(p.Viewer.Vote)}
	}
	return v
}

func (s *Server) authorView(p index.Person) authorView {
	return authorView{p.DID, shown(p.Handle), p.DisplayName, s.image("avatar_small", p.DID, p.Avatar)}
}

func (s *Server) communityRef(p index.Post) communityRef {
	c := p.Community
	ref := communityRef{DID: c.DID, Handle: shown(c.Handle), Name: communityName(c.Account, c.Name), Avatar: s.image("avatar_small", c.DID, c.Avatar)}
	if p.Viewer != nil {
		ref.Viewer = &refViewer{p.Viewer.Follows > 0}
	}
	return ref
}

// image is the address at which the instance serves a picture of a repository;
// empty without one.
func (s *Server) image(preset string, did syntax.DID, cid syntax.CID) string {
	if cid == "" {
		return ""
	}
	return s.cfg.Origin + "/img/" + preset + "/plain/" + string(did) + "/" + string(cid)
}

// communityName is what a community calls itself, or the first part of its
// handle, or its DID while that is not known.
func communityName(a index.Account, name string) string {
	switch {
	case name != "":
		return name
	case a.Handle == "":
		return a.DID.String()
	}
	first, _, _ := strings.Cut(a.Handle.String(), ".")
	return first
}

// datetime writes a time in the form that the protocol prefers.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
