package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// What a page of a thread holds below its first level.
const (
	// answersShown is how many answers to a comment are shown at once.
	answersShown = 5
	// threadMost bounds the comments of a page below its first level.
	threadMost = 200
	// contextMost is how many comments above a linked one are shown.
	contextMost = 100
)

// ThreadQuery asks for a page of a thread.
type ThreadQuery struct {
	// Post is the root's URI, in either form.
	Post syntax.ATURI
	// Comment is the key of the comment that is linked to; empty for the whole
	// thread.
	Comment syntax.RecordKey
	// By is its author; empty where the key alone is known, which may be that of
	// several comments.
	By   syntax.DID
	Sort Sort
	// Timeframe is how old comments of Top may be; 0 is no bound.
	Timeframe time.Duration
	Viewer    syntax.DID
	// Limit is how many comments the first level has, Depth how many levels there
	// are, from 1.
	Limit, Depth int
	Cursor       string
	Endpoint     string // see Query
}

// Thread is a post and comments on it.
type Thread struct {
	Post index.Post
	// Context leads from the post to the comment that was linked to, which is its
	// last; empty for the whole thread.
	Context []*index.Comment
	// Comments are answers to the last of Context, or to the post, with what is
	// below them.
	Comments []*index.Comment
	Cursor   string // of the next page; empty on the last
}

// Thread answers q, in a number of queries that depends on nothing. Errors:
// fault.NotFound (RootNotFound, ParentNotFound), fault.Invalid (InvalidCursor).
func (f *Feeds) Thread(ctx context.Context, q ThreadQuery) (Thread, error) {
	at, err := f.position(q.binding(), q.Cursor)
	if err != nil {
		return Thread{}, err
	}
	g, err := f.ground(ctx, &at)
	if err != nil {
		return Thread{}, err
	}
	r, err := g.cards.Reader(ctx, q.Viewer)
	if err != nil {
		return Thread{}, err
	}
	root, err := f.root(ctx, g, r, q.Post)
	if err != nil {
		return Thread{}, err
	}
	t := Thread{Post: root}
	ask := index.ThreadQuery{Post: root, Order: q.Sort, Seq: at.seq, After: at.after, Limit: q.Limit, Answers: answersShown,
		Depth: q.Depth, Most: q.Limit + 1 + threadMost}
	if q.Sort == Top && q.Timeframe > 0 {
		ask.Since = at.at.Add(-q.Timeframe).UnixMicro()
	}
	if q.Comment != "" {
		if ask.Under, t.Context, err = f.linked(ctx, r.Viewer, root, q.By, q.Comment); err != nil {
			return Thread{}, err
		}
	}
	comments, next, err := f.index.Thread(ctx, r.Viewer, ask)
	if err != nil {
		return Thread{}, err
	}
	if t.Comments = comments; next != nil {
		t.Cursor = f.seal(q.binding(), at, *next)
	}
	return t, nil
}

// root finds the post.
func (f *Feeds) root(ctx context.Context, g soil, r *index.Reader, uri syntax.ATURI) (index.Post, error) {
	id, ok, err := f.index.PostID(ctx, uri)
	if err != nil {
		return index.Post{}, err
	}
	var found []index.Post
	if ok {
		if found, err = g.cards.Posts(ctx, r, index.ByName, []int64{id}); err != nil {
			return index.Post{}, err
		}
	}
	if len(found) == 0 {
		return index.Post{}, fault.New(fault.NotFound, "There is no such post, or you may not see it.").WithCode("RootNotFound")
	}
	return found[0], nil
}

// linked finds a comment and what stands above it.
func (f *Feeds) linked(ctx context.Context, v index.Viewer, p index.Post, by syntax.DID, key syntax.RecordKey) (int64, []*index.Comment, error) {
	id, ok, err := f.index.CommentIn(ctx, p, by, key)
	if err != nil {
		return 0, nil, err
	}
	if !ok {
		return 0, nil, fault.New(fault.NotFound, "This comment is not in the thread.").WithCode("ParentNotFound")
	}
	above, err := f.index.Ancestors(ctx, v, p, id, contextMost)
	return id, above, err
}

func (q ThreadQuery) binding() string {
	return fmt.Sprintf("%s thread %s %s %s %d %d %s", q.Endpoint, q.Post, q.By, q.Comment, q.Sort, q.Timeframe, q.Viewer)
}
