package post

import (
	"log/slog"
	"testing"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// newest are the newest posts as everybody sees them.
func newest(t *testing.T, x *index.Index) []index.Post {
	t.Helper()
	cursors, err := index.NewCursors(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	f, err := feed.New(feed.Config{Index: x, Cursors: cursors, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Page(t.Context(), feed.Query{Listing: feed.Discover, Sort: feed.Newest, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	return page.Posts
}
