package index

import (
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestGate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		second := prepare(t, x, alice, 2, Op{Action: Update, Collection: PostCollection, RKey: rkey(1),
			CID: someCID, Record: post(commons, "second")})
		first := prepare(t, x, alice, 1, create(1, post(commons, "first")))
		gone := prepare(t, x, alice, 3, Op{Action: Delete, Collection: PostCollection, RKey: rkey(1)})

		steps := []struct {
			name    string
			commit  Commit
			want    Result
			deleted bool
			title   string
		}{
			{"new", second, Result{Applied: 1, Unresolved: true}, false, "second"},
			{"older", first, Result{Stale: 1, Unresolved: true}, false, "second"},
			{"same again", second, Result{Stale: 1, Unresolved: true}, false, "second"},
			{"delete", gone, Result{Applied: 1, Unresolved: true}, true, ""},
			{"late copy of what was deleted", second, Result{Stale: 1, Unresolved: true}, true, ""},
		}
		for _, s := range steps {
			if diff := cmp.Diff(s.want, apply(t, x, s.commit)); diff != "" {
				t.Errorf("%s: result (-want +got):\n%s", s.name, diff)
			}
			got := rows(t, x, alice)[string(rkey(1))]
			if got.Deleted != s.deleted || !strings.Contains(got.Record, s.title) {
				t.Errorf("%s: got %+v, want deleted %v and title %q", s.name, got, s.deleted, s.title)
			}
		}
	})
}

// TestSeveralOperationsOnOneRecord holds that a commit counts as its last
// operation on a record.
func TestSeveralOperationsOnOneRecord(t *testing.T) {
	t.Parallel()
	del := Op{Action: Delete, Collection: PostCollection, RKey: rkey(1)}
	update := func(title string) Op {
		return Op{Action: Update, Collection: PostCollection, RKey: rkey(1), CID: someCID, Record: post(commons, title)}
	}
	tests := []struct {
		name   string
		ops    []Op
		title  string // empty: no record
		edited bool
	}{
		{"create and delete", []Op{create(1, post(commons, "a")), del}, "", false},
		{"update twice", []Op{update("a"), update("b")}, "b", true},
		{"delete and create", []Op{del, create(1, post(commons, "b"))}, "b", true},
		{"create and update", []Op{create(1, post(commons, "a")), update("b")}, "b", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				apply(t, x, prepare(t, x, alice, 5, tt.ops...))
				got := rows(t, x, alice)[string(rkey(1))]
				if got.Deleted != (tt.title == "") || !strings.Contains(got.Record, tt.title) || (got.Edited != 0) != tt.edited {
					t.Errorf("got %+v, want title %q, edited %v", got, tt.title, tt.edited)
				}
			})
		})
	}
}

// TestMove holds that a post that names another community is pending there,
// and that a change after acceptance asks for it again.
func TestMove(t *testing.T) {
	t.Parallel()
	other := syntax.CID("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")
	accepted, removed := acceptance(postURI(alice, 1), someCID), removal(postURI(alice, 1), someCID)
	tests := []struct {
		name      string
		decision  *Op
		community syntax.DID
		cid       syntax.CID
		want      State
	}{
		{"accepted and moved", &accepted, gardens, other, Pending},
		{"removed and moved", &removed, gardens, other, Pending},
		{"accepted and changed", &accepted, commons, other, PendingReacceptance},
		{"accepted and committed again", &accepted, commons, someCID, Accepted},
		{"removed and changed", &removed, commons, other, Removed},
		{"pending and changed", nil, commons, other, Pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
				if tt.decision != nil {
					apply(t, x, prepare(t, x, commons, 1, *tt.decision))
				}
				apply(t, x, prepare(t, x, alice, 2, Op{Action: Update, Collection: PostCollection, RKey: rkey(1),
					CID: tt.cid, Record: post(tt.community, "b")}))
				got := rows(t, x, alice)[string(rkey(1))]
				if got.State != tt.want || got.Community != string(tt.community) {
					t.Errorf("got %v in %s, want %v in %s", got.State, got.Community, tt.want, tt.community)
				}
			})
		})
	}
}

// TestClamp holds that nobody places a post in the future.
func TestClamp(t *testing.T) {
	t.Parallel()
	key := noon.Add(-30 * time.Minute)
	tests := []struct {
		name, createdAt string
		key, want       time.Time
	}{
		{"before its key", "2026-03-01T11:00:00Z", key, noon.Add(-time.Hour)},
		{"after its key", "2026-03-01T11:45:00Z", key, key},
		{"key in the future", "2999-01-01T00:00:00Z", noon.Add(24 * time.Hour), noon},
		{"prehistoric", "0010-01-01T00:00:00Z", key, time.Date(10, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				record := post(commons, "a")
				record["createdAt"] = tt.createdAt
				op := create(1, record)
				op.RKey = syntax.RecordKey(syntax.NewTIDFromTime(tt.key, 1))
				apply(t, x, prepare(t, x, alice, 1, op))
				got := time.UnixMicro(rows(t, x, alice)[string(op.RKey)].Created).UTC()
				if !got.Equal(tt.want) {
					t.Errorf("created at %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestMalformed holds I5 for records: what cannot be read is dropped for a
// stated reason, and ends what was there before.
func TestMalformed(t *testing.T) {
	t.Parallel()
	with := func(field string, value any) Op {
		op := create(1, post(commons, "a"))
		op.Record[field] = value
		return op
	}
	key := func(k string) Op {
		op := create(1, post(commons, "a"))
		op.RKey = syntax.RecordKey(k)
		return op
	}
	tests := []struct {
		name   string
		did    syntax.DID
		op     Op
		reason Reason
		traced bool // the record counts as absent at this revision
	}{
		{"title is a number", alice, with("title", int64(7)), ReasonLexicon, true},
		{"title too long", alice, with("title", strings.Repeat("x", 301)), ReasonLexicon, true},
		{"U+0000", alice, with("title", "a\x00b"), ReasonText, true},
		{"U+0000 in an unknown field's key", alice, with("x\x00", "a"), ReasonText, true},
		{"bad UTF-8", alice, with("title", "a\xffb"), ReasonText, true},
		{"no createdAt", alice, with("createdAt", nil), ReasonLexicon, true},
		{"community of 2 KB", alice, with("community", "did:web:"+strings.Repeat("a", 2000)), ReasonReference, true},
		{"community of no kind that accounts have", alice, with("community", "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"), ReasonReference, true},
		{"larger than any page should be", alice, with("x", strings.Repeat("x", 300<<10)), ReasonTooLarge, true},
		{"another type", alice, with("$type", "app.bsky.feed.post"), ReasonLexicon, true},
		{"nested beyond measure", alice, with("x", nest(200)), ReasonText, true},
		{"not decoded", alice, Op{Action: Create, Collection: PostCollection, RKey: rkey(1), Malformed: "cbor"}, "cbor", true},
		{"no CID", alice, Op{Action: Create, Collection: PostCollection, RKey: rkey(1), Record: post(commons, "a")}, ReasonCID, true},
		{"key is no TID", alice, key("self"), ReasonKey, false},
		{"key of 2 KB", alice, key(strings.Repeat("a", 2000)), ReasonLongKey, false},
		{"author of 2 KB", syntax.DID("did:web:" + strings.Repeat("a", 2000)), with("title", "a"), ReasonLongDID, false},
		{"other collection", alice, Op{Action: Create, Collection: "app.bsky.feed.post", RKey: rkey(1)}, ReasonCollection, false},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		for i, tt := range tests {
			apply(t, x, prepare(t, x, alice, 2*i, create(1, post(commons, "readable"))))
			c, drops := x.Prepare(tt.did, tid(2*i+1), []Op{tt.op})
			if len(drops) != 1 || drops[0].Reason != tt.reason {
				t.Errorf("%s: dropped %v, want %s", tt.name, drops, tt.reason)
			}
			apply(t, x, c)
			if got := rows(t, x, alice)[string(rkey(1))]; got.Deleted != tt.traced {
				t.Errorf("%s: the post before is absent: %v, want %v", tt.name, got.Deleted, tt.traced)
			}
		}
	})
}

func nest(depth int) any {
	var v any = "x"
	for range depth {
		v = []any{v}
	}
	return v
}

func TestBadRevision(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		for _, rev := range []syntax.TID{"", "jzzzzzzzzzzzz", "2222222222222", "not a tid"} {
			c, drops := x.Prepare(alice, rev, []Op{create(1, post(commons, "a"))})
			if !c.Empty() || len(drops) != 1 || drops[0].Reason != ReasonRev {
				t.Errorf("revision %q: got %v, %v", rev, c, drops)
			}
		}
	})
}
