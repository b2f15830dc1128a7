package index

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// noon is the clock of tests.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	alice   = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob     = syntax.DID("did:plc:bobaaaaaaaaaaaaaaaaaaaaa")
	commons = syntax.DID("did:plc:commonsaaaaaaaaaaaaaaaaa")
	gardens = syntax.DID("did:plc:gardensaaaaaaaaaaaaaaaaa")
	someCID = syntax.CID("bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a")
)

// newIndex returns an Index whose clock stands at noon.
func newIndex(t *testing.T, db *store.DB) *Index {
	t.Helper()
	x, err := New(Config{DB: db, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// tid is a TID n seconds after an hour before noon.
func tid(n int) syntax.TID {
	return syntax.NewTIDFromTime(noon.Add(-time.Hour+time.Duration(n)*time.Second), 7)
}

// post is a well-formed record.
func post(community syntax.DID, title string) map[string]any {
	return map[string]any{
		"$type":     string(PostCollection),
		"community": string(community),
		"title":     title,
		"createdAt": "2026-03-01T11:00:00.000Z",
	}
}

func create(key int, record map[string]any) Op {
	return Op{Action: Create, Collection: PostCollection, RKey: rkey(key), CID: someCID, Record: record}
}

func rkey(n int) syntax.RecordKey { return syntax.RecordKey(tid(n)) }

func postURI(did syntax.DID, key int) syntax.ATURI { return recordURI(did, PostCollection, rkey(key)) }

// put is an operation that leaves a record; where is its key.
func put(collection syntax.NSID, where syntax.RecordKey, fields map[string]any) Op {
	record := map[string]any{"$type": string(collection), "createdAt": "2026-03-01T11:00:00.000Z"}
	maps.Copy(record, fields)
	return Op{Action: Create, Collection: collection, RKey: where, CID: someCID, Record: record}
}

func strong(uri syntax.ATURI, cid syntax.CID) map[string]any {
	return map[string]any{"uri": string(uri), "cid": string(cid)}
}

func acceptance(uri syntax.ATURI, cid syntax.CID) Op {
	return put(AcceptanceCollection, admissionKey(uri), map[string]any{"subject": strong(uri, cid)})
}

func removal(uri syntax.ATURI, cid syntax.CID) Op {
	return put(RemovalCollection, admissionKey(uri), map[string]any{"subject": strong(uri, cid), "code": "spam"})
}

func vote(key int, uri syntax.ATURI, direction string) Op {
	return put(VoteCollection, rkey(key), map[string]any{"subject": strong(uri, someCID), "direction": direction})
}

func comment(key int, root, parent syntax.ATURI) Op {
	return put(CommentCollection, rkey(key), map[string]any{"content": "yes",
		"reply": map[string]any{"root": strong(root, someCID), "parent": strong(parent, someCID)}})
}

func subscribe(key int, community syntax.DID) Op {
	return put(SubscriptionCollection, rkey(key), map[string]any{"subject": string(community)})
}

func remove(collection syntax.NSID, where syntax.RecordKey) Op {
	return Op{Action: Delete, Collection: collection, RKey: where}
}

// prepare fails the test when anything is dropped.
func prepare(t *testing.T, x *Index, did syntax.DID, rev int, ops ...Op) Commit {
	t.Helper()
	c, drops := x.Prepare(did, tid(rev), ops)
	if len(drops) > 0 {
		t.Fatalf("prepare: dropped %v", drops)
	}
	return c
}

// apply applies commits in one transaction.
func apply(t *testing.T, x *Index, commits ...Commit) Result {
	t.Helper()
	var result Result
	err := x.db.Tx(t.Context(), func(tx *store.Tx) (err error) {
		result, err = x.Apply(t.Context(), tx, commits)
		return err
	})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return result
}

func applyAccounts(t *testing.T, x *Index, events ...AccountEvent) int64 {
	t.Helper()
	var n int64
	err := x.db.Tx(t.Context(), func(tx *store.Tx) (err error) {
		n, err = x.ApplyAccounts(t.Context(), tx, events)
		return err
	})
	if err != nil {
		t.Fatalf("apply account events: %v", err)
	}
	return n
}

// row is a post's row in words that can be compared.
type row struct {
	Rev       int64
	Deleted   bool
	Community string
	CID       string
	Created   int64
	Edited    int64
	State     State
	Record    string
}

// rows reads the posts of one author.
func rows(t testing.TB, x *Index, did syntax.DID) map[string]row {
	t.Helper()
	out, err := readRows(context.Background(), x, did)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readRows(ctx context.Context, x *Index, did syntax.DID) (map[string]row, error) {
	found, err := x.db.Read().QueryContext(ctx, `
		SELECT p.rkey, p.rev, p.deleted, COALESCE(c.did, ''), COALESCE(p.cid, ''),
		       COALESCE(p.created_at, 0), COALESCE(p.edited_at, 0), p.state, p.record
		FROM post p JOIN account a ON a.id = p.author_id LEFT JOIN account c ON c.id = p.community_id
		WHERE a.did = $1`, did)
	if err != nil {
		return nil, fmt.Errorf("read posts of %s: %w", did, err)
	}
	out := map[string]row{}
	err = each(found, func() error {
		var key string
		var r row
		var record []byte
		err := found.Scan(&key, &r.Rev, &r.Deleted, &r.Community, &r.CID, &r.Created, &r.Edited, &r.State, &record)
		r.Record = string(record)
		out[key] = r
		return err
	})
	return out, err
}

// listed are the newest posts of all communities as the viewer sees them.
func listed(t *testing.T, x *Index, v Viewer, in Listing) []Post {
	t.Helper()
	ranks, err := x.Ranked(t.Context(), RankQuery{Order: ByNew, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int64, len(ranks))
	for i, r := range ranks {
		ids[i] = r.Post
	}
	seen, err := x.Posts(t.Context(), v, in, ids)
	if err != nil {
		t.Fatal(err)
	}
	var out []Post
	for _, id := range ids {
		if p, ok := seen[id]; ok {
			out = append(out, p)
		}
	}
	return out
}
