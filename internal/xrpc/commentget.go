package xrpc

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// Limits of a page of a thread.
const (
	commentsDefault = 50
	commentsMost    = 100
	depthDefault    = 10
	depthMost       = 100
)

// threadView is a page of a thread.
type threadView struct {
	Post *postView `json:"post"`
	// Context leads from the post to the comment that was asked for, if one was.
	Context  []commentView   `json:"context,omitempty"`
	Comments []threadComment `json:"comments"`
	Cursor   string          `json:"cursor,omitempty"`
}

type threadComment struct {
	Comment commentView     `json:"comment"`
	Replies []threadComment `json:"replies,omitempty"`
	HasMore bool            `json:"hasMore,omitempty"`
}

// commentView is social.coves.community.comment.defs#commentView.
type commentView struct {
	URI       syntax.ATURI    `json:"uri"`
	CID       syntax.CID      `json:"cid,omitempty"`
	Author    authorView      `json:"author"`
	Record    json.RawMessage `json:"record"` // null when it is gone
	Post      strongRef       `json:"post"`
	Parent    *strongRef      `json:"parent,omitempty"`
	Embed     any             `json:"embed,omitempty"`
	CreatedAt string          `json:"createdAt"`
	IndexedAt string          `json:"indexedAt"`
	Stats     commentStats    `json:"stats"`
	Viewer    *voteViewer     `json:"viewer,omitempty"`
	IsDeleted bool            `json:"isDeleted,omitempty"`
	Reason    string          `json:"deletionReason,omitempty"`
	DeletedAt string          `json:"deletedAt,omitempty"`
}

type commentStats struct {
	Upvotes    int64 `json:"upvotes"`
	Downvotes  int64 `json:"downvotes"`
	Score      int64 `json:"score"`
	ReplyCount int64 `json:"replyCount"`
}

// getComments answers social.coves.community.comment.getComments.
func (s *Server) getComments(w http.ResponseWriter, r *http.Request, who caller) error {
	q, err := threadQuery(r, who)
	if err != nil {
		return err
	}
	t, err := s.cfg.Feeds.Thread(r.Context(), q)
	if err != nil {
		return err
	}
	posts, err := s.postViews(r.Context(), who, []index.Post{t.Post})
	if err != nil {
		return err
	}
	quoted, err := s.quotedBy(r.Context(), who, append(all(t.Comments), t.Context...))
	if err != nil {
		return err
	}
	out := threadView{Post: &posts[0], Comments: s.threadComments(who, t.Comments, quoted), Cursor: t.Cursor}
	for _, c := range t.Context {
		out.Context = append(out.Context, s.commentView(who, c, quoted))
	}
	return s.writeShared(w, r, who, out)
}

func threadQuery(r *http.Request, who caller) (feed.ThreadQuery, error) {
	params, err := parameters(r)
	if err != nil {
		return feed.ThreadQuery{}, err
	}
	uri, err := syntax.ParseATURI(params.Get("post"))
	if err != nil || uri.RecordKey() == "" {
		return feed.ThreadQuery{}, invalid(err, "The parameter post must be the AT-URI of a post.")
	}
	q := feed.ThreadQuery{Post: uri, Comment: syntax.RecordKey(params.Get("parentRkey")), Viewer: who.account.DID,
		Cursor: params.Get("cursor"), Endpoint: "comments", Depth: depthDefault}
	if params.Get("timeframe") == "" {
		params.Set("timeframe", "all")
	}
	if q.Sort, q.Timeframe, err = sorting(params); err != nil {
		return q, err
	}
	if text := params.Get("depth"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > depthMost {
			return q, invalid(err, "depth must be a number from 0 to "+strconv.Itoa(depthMost)+".")
		}
		q.Depth = n
	}
	q.Depth++ // below the first level, which is there in any case
	q.Limit, err = limitOf(params, commentsDefault, commentsMost)
	return q, err
}

func (s *Server) threadComments(who caller, comments []*index.Comment, quoted map[syntax.ATURI]any) []threadComment {
	out := make([]threadComment, 0, len(comments))
	for _, c := range comments {
		out = append(out, threadComment{s.commentView(who, c, quoted), s.threadComments(who, c.Answers, quoted), c.More})
	}
	return out
}

// reasons are why a comment is gone, in the words of the lexicon; one that only
// its reader hides has none.
var reasons = map[index.Gone]string{index.GoneDeleted: "author", index.GoneAccount: "author", index.GoneShutOut: "moderator"}

func (s *Server) commentView(who caller, c *index.Comment, quoted map[syntax.ATURI]any) commentView {
	v := commentView{
		URI: c.URI, CID: c.CID, Record: c.Record, Post: strongRef(c.Post), Author: s.authorView(c.Author),
		CreatedAt: datetime(c.CreatedAt), IndexedAt: datetime(c.IndexedAt),
		Stats: commentStats{c.Upvotes, c.Downvotes, c.Upvotes - c.Downvotes, c.Replies},
	}
	if c.Parent != nil {
		parent := strongRef(*c.Parent)
		v.Parent = &parent
	}
	if who.account.DID != "" {
		vote := newVoteViewer(c.Vote)
		v.Viewer = &vote
	}
	if c.Gone != 0 {
		v.IsDeleted, v.Reason = true, reasons[c.Gone]
		v.Author = authorView{DID: syntax.DID(c.URI.Authority().String())} // which the URI names anyway
		if !c.GoneAt.IsZero() {
			v.DeletedAt = datetime(c.GoneAt)
		}
		return v
	}
	v.Embed = s.embedView(c.Author.DID, readEmbed(c.Record), quoted)
	return v
}

// all lists comments with everything below them.
func all(comments []*index.Comment) []*index.Comment {
	var out []*index.Comment
	for _, c := range comments {
		out = append(append(out, c), all(c.Answers)...)
	}
	return out
}

// quotedBy resolves what comments quote.
func (s *Server) quotedBy(ctx context.Context, who caller, comments []*index.Comment) (map[syntax.ATURI]any, error) {
	var uris []syntax.ATURI
	for _, c := range comments {
		if uri := readEmbed(c.Record).Post.URI; uri != "" {
			uris = append(uris, uri)
		}
	}
	return s.quotes(ctx, who, uris)
}

// postsMost is how many posts can be asked for at once.
const postsMost = 25

type postsView struct {
	Posts []any `json:"posts"`
}

// postGet answers social.coves.community.post.get: posts by their URIs, in the
// order asked for, or why they are not shown.
func (s *Server) postGet(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	texts := params["uris"]
	if len(texts) == 0 || len(texts) > postsMost {
		return invalid(nil, "Give from 1 to "+strconv.Itoa(postsMost)+" uris, each in a parameter of its own.")
	}
	uris := make([]syntax.ATURI, len(texts))
	for i, text := range texts {
		if uris[i], err = syntax.ParseATURI(text); err != nil || uris[i].RecordKey() == "" {
			return invalid(err, "Each of uris must be the AT-URI of a post.")
		}
	}
	v, err := s.cfg.Index.Viewer(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	found, err := s.cfg.Index.PostsByURI(r.Context(), v, uris)
	if err != nil {
		return err
	}
	views, err := s.foundViews(r.Context(), who, found)
	if err != nil {
		return err
	}
	out := postsView{Posts: make([]any, 0, len(uris))}
	for _, uri := range uris {
		switch view, ok := views[uri]; {
		case ok:
			out.Posts = append(out.Posts, view)
		case found[uri].Blocked:
			out.Posts = append(out.Posts, unseen{URI: uri, Blocked: true})
		default:
			out.Posts = append(out.Posts, unseen{URI: uri, NotFound: true})
		}
	}
	return s.writeShared(w, r, who, out)
}

// foundViews shows the posts that were found.
func (s *Server) foundViews(ctx context.Context, who caller, found map[syntax.ATURI]index.Found) (map[syntax.ATURI]*postView, error) {
	var uris []syntax.ATURI
	var posts []index.Post
	for uri, f := range found {
		if !f.Blocked {
			uris, posts = append(uris, uri), append(posts, f.Post)
		}
	}
	views, err := s.postViews(ctx, who, posts)
	out := make(map[syntax.ATURI]*postView, len(uris))
	for i, uri := range uris {
		if err == nil {
			out[uri] = &views[i]
		}
	}
	return out, err
}
