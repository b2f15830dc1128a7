package post

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// counting counts the posts that are read.
type counting struct {
	Lister
	posts int
}

func (c *counting) Discover(ctx context.Context, limit int, after *index.Position) ([]index.Post, *index.Position, error) {
	posts, next, err := c.Lister.Discover(ctx, limit, after)
	c.posts += len(posts)
	return posts, next, err
}

// fill writes a post of each size, in KiB, the last one newest.
func fill(t *testing.T, db *store.DB, x *index.Index, sizes []int) {
	t.Helper()
	var commits []index.Commit
	for i, size := range sizes {
		key := syntax.NewTIDFromTime(time.Now().Add(time.Duration(i-len(sizes))*time.Second), 1)
		record := map[string]any{"$type": string(index.PostCollection), "community": string(commons),
			"createdAt": key.Time().Format(time.RFC3339Nano), "unknown": strings.Repeat("x", size<<10)}
		cid, err := agent.RecordCID(record)
		if err != nil {
			t.Fatal(err)
		}
		commit, drops := x.Prepare(alice, key, []index.Op{{Action: index.Create, Collection: index.PostCollection,
			RKey: syntax.RecordKey(key), CID: cid, Record: record}})
		if len(drops) > 0 {
			t.Fatal(drops)
		}
		commits = append(commits, commit)
	}
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := x.Apply(t.Context(), tx, commits)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNewestPages holds that pages of long posts are short, that none is read
// in vain by the dozen, and that together they are all posts, once and in order.
func TestNewestPages(t *testing.T) {
	t.Parallel()
	small := make([]int, 35)
	huge := []int{250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250}
	tests := []struct {
		name  string
		sizes []int
		want  []int // posts of each page
	}{
		{"none", nil, []int{0}},
		{"small", small, []int{30, 5}},
		{"exactly one page", small[:30], []int{30}},
		{"huge", huge, []int{4, 4, 4}},
		{"huge behind small", append(append([]int{}, huge...), small[:10]...), []int{14, 4, 4}},
		{"one that fits to the step's end", append(append([]int{}, huge[:2]...), 250, 250, 250, 250, 0, 0, 0, 0, 0, 0), []int{10, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t, store.SQLite)
			x, err := index.New(index.Config{DB: db})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, db, x, tt.sizes)
			var got []int
			seen, last := map[syntax.ATURI]bool{}, time.Now()
			for after := (*index.Position)(nil); len(got) < 10; {
				list := &counting{Lister: x}
				page, next, err := Newest(t.Context(), list, 30, after)
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, len(page)); list.posts > len(page)+2*pageStep {
					t.Errorf("page %d: %d posts were read for %d", len(got), list.posts, len(page))
				}
				for _, p := range page {
					if seen[p.URI()] || p.CreatedAt.After(last) {
						t.Errorf("%s is there twice or out of order", p.URI())
					}
					seen[p.URI()], last = true, p.CreatedAt
				}
				if after = next; after == nil {
					break
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || len(seen) != len(tt.sizes) {
				t.Errorf("%d posts of %d, by page (-want +got):\n%s", len(seen), len(tt.sizes), diff)
			}
		})
	}
}
