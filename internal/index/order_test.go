package index

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// revision is one commit of a generated history, before Prepare.
type revision struct {
	rev syntax.TID
	ops []Op
}

// genHistory draws what one repository did: creates, updates, deletes,
// re-creates, moves between communities, several operations on one record in
// one commit, and records that cannot be read.
func genHistory(rt *rapid.T) []revision {
	var history []revision
	exists := map[syntax.RecordKey]bool{}
	for i := range rapid.IntRange(1, 8).Draw(rt, "commits") {
		r := revision{rev: tid(100 + i)}
		for range rapid.IntRange(1, 4).Draw(rt, "ops") {
			op := genOp(rt, exists)
			exists[op.RKey] = op.Action != Delete
			r.ops = append(r.ops, op)
		}
		history = append(history, r)
	}
	return history
}

func genOp(rt *rapid.T, exists map[syntax.RecordKey]bool) Op {
	op := Op{Action: Create, Collection: PostCollection, RKey: rkey(rapid.IntRange(1, 3).Draw(rt, "key"))}
	if exists[op.RKey] {
		op.Action = rapid.SampledFrom([]Action{Update, Update, Delete}).Draw(rt, "action")
	}
	if op.Action == Delete {
		return op
	}
	op.CID = someCID
	community := rapid.SampledFrom([]syntax.DID{commons, gardens}).Draw(rt, "community")
	op.Record = post(community, rapid.StringMatching(`[a-z]{1,3}`).Draw(rt, "title"))
	switch rapid.IntRange(0, 9).Draw(rt, "flaw") {
	case 0:
		op.Record["createdAt"] = "soon"
	case 1:
		op.Record["createdAt"] = "2999-01-01T00:00:00Z"
	case 2:
		op.Record["createdAt"] = "0011-01-01T00:00:00Z"
	case 3:
		op.Malformed = "cbor"
	}
	return op
}

// model replays a history in its true order, operation by operation, as a
// repository itself would. It is what the index must look like in the end.
func model(history []revision) map[string]row {
	out := map[string]row{}
	readable := map[string]bool{}
	for _, r := range history {
		before := map[string]bool{} // what existed when the commit began
		for key := range out {
			before[key] = readable[key]
		}
		for _, op := range r.ops {
			key := string(op.RKey)
			readable[key] = op.Action != Delete
			out[key] = modelRow(r.rev, op, before[key])
		}
	}
	return out
}

func modelRow(rev syntax.TID, op Op, existed bool) row {
	r := row{Rev: int64(rev.Integer()), Deleted: true}
	if op.Action == Delete || op.Malformed != "" || op.Record["createdAt"] == "soon" {
		return r
	}
	said, _ := time.Parse(time.RFC3339, op.Record["createdAt"].(string))
	created := slices.MinFunc([]time.Time{said, syntax.TID(op.RKey).Time(), noon}, time.Time.Compare)
	r.Deleted, r.CID, r.Created = false, string(op.CID), created.UnixMicro()
	r.Community = op.Record["community"].(string)
	r.Record = fmt.Sprintf(`{"$type":%q,"community":%q,"createdAt":%q,"title":%q}`,
		PostCollection, r.Community, op.Record["createdAt"], op.Record["title"])
	if existed {
		r.Edited = rev.Time().UnixMicro()
	}
	return r
}

// deliver applies a history as a hostile network would: any order, repeated,
// in transactions of any size.
func deliver(ctx context.Context, rt *rapid.T, x *Index, did syntax.DID, history []revision) error {
	seen := slices.Concat(history, rapid.SliceOfN(rapid.SampledFrom(history), 0, 3).Draw(rt, "repeats"))
	seen = rapid.Permutation(seen).Draw(rt, "order")
	for len(seen) > 0 {
		n := rapid.IntRange(1, len(seen)).Draw(rt, "batch")
		var commits []Commit
		for _, r := range seen[:n] {
			c, _ := x.Prepare(did, r.rev, r.ops)
			commits = append(commits, c)
		}
		err := x.db.Tx(ctx, func(tx *store.Tx) error {
			_, err := x.Apply(ctx, tx, commits)
			return err
		})
		if err != nil {
			return err
		}
		seen = seen[n:]
	}
	return nil
}

// TestAnyOrder holds I3 and I4: whatever the order and the repetitions, the
// index is what the repository came to be.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var serial atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			history := genHistory(rt)
			want := model(history)
			for range size.Size(5, 100) { // times rapid's 100 histories
				did := syntax.DID(fmt.Sprintf("did:plc:n%d", serial.Add(1)))
				if err := deliver(t.Context(), rt, x, did, history); err != nil {
					rt.Fatalf("deliver: %v", err)
				}
				got, err := readRows(t.Context(), x, did)
				if err != nil {
					rt.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatalf("posts of %s after any order (-model +index):\n%s", did, diff)
				}
			}
		})
	})
}
