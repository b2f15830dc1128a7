package feed

import (
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// applyAll writes records of one account in one transaction, under the keys
// that they name or others, and returns their URIs.
func (m *model) applyAll(did syntax.DID, collection syntax.NSID, records []map[string]any) (uris []syntax.ATURI) {
	m.t.Helper()
	var commits []index.Commit
	for _, record := range records {
		record["$type"], record["createdAt"] = string(collection), "2026-03-01T11:00:00Z"
		rev := m.tid()
		key, ok := record["key"].(syntax.RecordKey)
		if !ok {
			key = syntax.RecordKey(rev)
		}
		delete(record, "key")
		uris = append(uris, syntax.ATURI("at://"+string(did)+"/"+string(collection)+"/"+string(key)))
		c, drops := m.p.index.Prepare(did, rev, []index.Op{{Action: index.Create, Collection: collection, RKey: key, CID: someCID, Record: record}})
		if len(drops) > 0 {
			m.t.Fatalf("dropped: %v", drops)
		}
		commits = append(commits, c)
	}
	err := m.p.db.Tx(context.Background(), func(tx *store.Tx) error {
		_, err := m.p.index.Apply(context.Background(), tx, commits)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return uris
}

// TestManySubscriptionsAndBlocks holds that who follows ten thousand communities
// and blocks ten thousand people gets their home page all the same, from memory
// and from the database.
func TestManySubscriptionsAndBlocks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "m", 10)
		for i := range 12 {
			m.post(time.Duration(i) * time.Hour)
		}
		var follows, blocks []map[string]any
		for i := range size.Size(500, 10_000) {
			follows = append(follows, map[string]any{"subject": string(m.did("community", i)), "contentVisibility": int64(1 + i%5)})
			blocks = append(blocks, map[string]any{"subject": string(m.did("stranger", i))})
		}
		m.applyAll(m.reader(), index.SubscriptionCollection, follows)
		m.applyAll(m.reader(), index.PersonBlockCollection, append(blocks, map[string]any{"subject": string(m.did("author", 1))}))
		m.blocks[m.did("author", 1)] = true
		for i := range 3 {
			m.levels[i] = 1 + i%5
		}
		q := Query{Listing: Home, Sort: Hot, Viewer: m.reader(), Limit: 50}
		bare := uris(t, p.feeds, q)
		if err := p.feeds.keepUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.expect(q), bare); diff != "" {
			t.Errorf("from the database (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(m.expect(q), uris(t, p.feeds, q)); diff != "" {
			t.Errorf("from memory (-want +got):\n%s", diff)
		}
	})
}

// TestReadersWhileFollowing holds that reading and following do not disturb each
// other; the race detector judges.
func TestReadersWhileFollowing(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := processOn(t, storetest.New(t, store.SQLite), c)
	m := newModel(t, p, c, "c", 11)
	for i := range 20 {
		m.post(time.Duration(i) * time.Hour)
	}
	m.subscribe(0, 1)
	m.subscribe(1, 5)
	if err := p.feeds.keepUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	queries := []Query{
		{Listing: Home, Sort: Hot, Viewer: m.reader(), Limit: 3}, {Listing: All, Sort: Top, Timeframe: day, Limit: 3},
		{Listing: Discover, Sort: Newest, Viewer: m.reader(), Limit: 3},
	}
	done := make(chan error, len(queries))
	for _, q := range queries {
		go func() {
			for range 40 {
				page, err := p.feeds.Page(context.Background(), q)
				if err != nil {
					done <- err
					return
				}
				q.Cursor = page.Cursor
			}
			done <- nil
		}()
	}
	for range 60 {
		m.vote(m.posts[m.rand.IntN(len(m.posts))], true)
	}
	for range queries {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
