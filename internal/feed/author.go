package feed

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// AuthorQuery asks for a page of what somebody wrote, the last first.
type AuthorQuery struct {
	Author syntax.DID
	// Community bounds it to one community; empty for all.
	Community syntax.DID
	Viewer    syntax.DID
	Limit     int
	Cursor    string
	Endpoint  string // see Query
}

// PostsBy returns a page of somebody's posts. Errors: fault.Invalid
// (InvalidCursor).
func (f *Feeds) PostsBy(ctx context.Context, q AuthorQuery) (Page, error) {
	v, ask, err := f.author(ctx, q)
	if err != nil {
		return Page{}, err
	}
	posts, next, err := f.index.PostsBy(ctx, v, ask)
	return Page{Posts: posts, Cursor: f.authorCursor(q, next)}, err
}

// CommentsBy is PostsBy for comments.
func (f *Feeds) CommentsBy(ctx context.Context, q AuthorQuery) (comments []*index.Comment, cursor string, err error) {
	v, ask, err := f.author(ctx, q)
	if err != nil {
		return nil, "", err
	}
	comments, next, err := f.index.CommentsBy(ctx, v, ask)
	return comments, f.authorCursor(q, next), err
}

func (f *Feeds) author(ctx context.Context, q AuthorQuery) (index.Viewer, index.AuthorQuery, error) {
	ask := index.AuthorQuery{Author: q.Author, Community: q.Community, Limit: q.Limit}
	if q.Cursor != "" {
		n, err := f.cursors.Open(q.binding(), q.Cursor, 1)
		if err != nil {
			return index.Viewer{}, ask, err
		}
		ask.After = n[0]
	}
	v, err := f.index.Viewer(ctx, q.Viewer)
	return v, ask, err
}

func (f *Feeds) authorCursor(q AuthorQuery, next int64) string {
	if next == 0 {
		return ""
	}
	return f.cursors.Seal(q.binding(), next)
}

func (q AuthorQuery) binding() string {
	return fmt.Sprintf("%s author %s %s %s", q.Endpoint, q.Author, q.Community, q.Viewer)
}
