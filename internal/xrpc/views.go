package xrpc

import (
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
	CreatedAt string           `json:"createdAt"`
	IndexedAt string           `json:"indexedAt"`
	EditedAt  string           `json:"editedAt,omitempty"`
	Stats     postStats        `json:"stats"`
	Status    string           `json:"status"`
}

type authorView struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
}

type communityRef struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
	Name   string        `json:"name"`
}

// postStats are integers, never null.
type postStats struct {
	Upvotes      int64 `json:"upvotes"`
	Downvotes    int64 `json:"downvotes"`
	Score        int64 `json:"score"`
	CommentCount int64 `json:"commentCount"`
}

func newPostView(p index.Post) postView {
	v := postView{
		URI: p.URI(), CID: p.CID, RKey: p.RKey, Record: p.Record,
		Author:    authorView{p.Author.DID, shown(p.Author.Handle)},
		Community: communityRef{p.Community.DID, shown(p.Community.Handle), communityName(p.Community)},
		CreatedAt: datetime(p.CreatedAt), IndexedAt: datetime(p.IndexedAt), Status: p.State.String(),
	}
	if !p.EditedAt.IsZero() {
		v.EditedAt = datetime(p.EditedAt)
	}
	return v
}

// communityName is the first part of the community's handle, or its DID while
// the handle is not known.
func communityName(a index.Account) string {
	if a.Handle == "" {
		return a.DID.String()
	}
	name, _, _ := strings.Cut(a.Handle.String(), ".")
	return name
}

// datetime writes a time in the form that the protocol prefers.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
