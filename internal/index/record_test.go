package index

import (
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestWhatLexiconsCannotSay holds the rules that only code can check: keys,
// whom a record may speak for, what it may refer to, where facets lie.
func TestWhatLexiconsCannotSay(t *testing.T) {
	t.Parallel()
	uri := postURI(alice, 1)
	at := func(op Op, key syntax.RecordKey) Op { op.RKey = key; return op }
	facet := func(start, end int64) []any {
		return []any{map[string]any{"index": map[string]any{"byteStart": start, "byteEnd": end}, "features": []any{
			map[string]any{"$type": "social.coves.richtext.facet#bold"}}}}
	}
	with := func(op Op, field string, value any) Op { op.Record[field] = value; return op }
	owned := func(collection syntax.NSID, key syntax.RecordKey, field string, did syntax.DID) Op {
		op := put(collection, key, map[string]any{"user": string(bob), "role": "admin", "createdBy": string(bob), "subject": string(bob),
			"banType": "moderator", "reason": "spam", "displayName": "x", "aggregatorDid": string(bob), "enabled": true})
		op.Record[field] = string(did)
		return op
	}
	self := syntax.RecordKey("self")
	tests := []struct {
		name   string
		op     Op
		reason Reason // empty: accepted
	}{
		{"vote", vote(1, uri, "up"), ""},
		{"vote under a key that is no TID", at(vote(1, uri, "up"), "best"), ReasonKey},
		{"vote on a vote", vote(1, recordURI(alice, VoteCollection, rkey(1)), "up"), ReasonReference},
		{"vote on itself", vote(1, recordURI(commons, VoteCollection, rkey(1)), "up"), ReasonReference},
		{"vote on a post by handle", vote(1, "at://alice.example.com/social.coves.community.postv2/"+syntax.ATURI(rkey(1)), "up"), ReasonReference},
		{"vote on a repository", vote(1, "at://"+syntax.ATURI(alice), "up"), ReasonReference},
		{"vote on a key no post has", vote(1, recordURI(alice, PostCollection, "self"), "up"), ReasonReference},
		{"vote on the older form", vote(1, recordURI(commons, LegacyPostCollection, rkey(1)), "up"), ""},
		{"acceptance", acceptance(uri, someCID), ""},
		{"acceptance under the key of another post", at(acceptance(uri, someCID), admissionKey(postURI(alice, 2))), ReasonKey},
		{"acceptance under a TID", at(acceptance(uri, someCID), rkey(1)), ReasonKey},
		{"acceptance of a comment", acceptance(recordURI(alice, CommentCollection, rkey(1)), someCID), ReasonReference},
		{"removal under the key of another post", at(removal(uri, someCID), admissionKey(postURI(alice, 2))), ReasonKey},
		{"comment", comment(1, uri, uri), ""},
		{"comment on a comment", comment(1, uri, recordURI(alice, CommentCollection, rkey(2))), ""},
		{"comment below another post than its root", comment(1, uri, postURI(alice, 2)), ReasonReference},
		{"comment whose root is a comment", comment(1, recordURI(alice, CommentCollection, rkey(2)), recordURI(alice, CommentCollection, rkey(2))), ReasonReference},
		{"comment on itself", comment(1, uri, recordURI(commons, CommentCollection, rkey(1))), ReasonReference},
		{"facet of the whole text", with(comment(1, uri, uri), "facets", facet(0, 3)), ""},
		{"facet past the text", with(comment(1, uri, uri), "facets", facet(0, 4)), ReasonFacet},
		{"facet of nothing", with(comment(1, uri, uri), "facets", facet(2, 2)), ReasonFacet},
		{"facet without text", with(create(1, map[string]any{"$type": string(PostCollection), "community": string(commons),
			"createdAt": "2026-03-01T11:00:00Z"}), "facets", facet(0, 1)), ReasonFacet},
		{"moderator", owned(ModeratorCollection, rkey(1), "community", commons), ""},
		{"moderator of another community", owned(ModeratorCollection, rkey(1), "community", gardens), ReasonOwner},
		{"ban of another community", owned(BanCollection, rkey(1), "community", gardens), ReasonOwner},
		{"service", owned(ServiceCollection, self, "did", commons), ""},
		{"service in another's name", owned(ServiceCollection, self, "did", gardens), ReasonOwner},
		{"authorization of another community", owned(AuthorizationCollection, "news", "communityDid", gardens), ReasonOwner},
		{"profile under another key than self", put(PersonCollection, "other", nil), ReasonKey},
		{"community with a host of 2 KB", put(CommunityCollection, self, map[string]any{"name": "x", "createdBy": string(bob),
			"hostedBy": "did:web:" + strings.Repeat("a", 2000)}), ReasonReference},
	}
	x, err := New(Config{DB: storetest.New(t, store.SQLite)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		_, drops := x.Prepare(commons, tid(1), []Op{tt.op})
		var got Reason
		for _, d := range drops {
			got = d.Reason
		}
		if got != tt.reason {
			t.Errorf("%s: got %q, want %q (%v)", tt.name, got, tt.reason, drops)
		}
	}
}

// TestAdmissionKey holds the key against one worked out elsewhere.
func TestAdmissionKey(t *testing.T) {
	t.Parallel()
	// From another program's SHA-256 and base32.
	const want = "wd66ul6fsbedq4kz7fre6aqzvcf4ibneojnpcc6ygps7pfrikl2a"
	if got := admissionKey("at://did:plc:a/social.coves.community.postv2/b"); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestCommentCycle holds that two comments that answer each other, which no
// honest client can write, are kept and counted once each.
func TestCommentCycle(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		apply(t, x, prepare(t, x, alice, 1, comment(1, uri, recordURI(bob, CommentCollection, rkey(1)))),
			prepare(t, x, bob, 1, comment(1, uri, recordURI(alice, CommentCollection, rkey(1)))))
		if got := counts(t, x, uri); got != [3]int64{0, 0, 2} {
			t.Errorf("counts %v, want two comments", got)
		}
	})
}

// TestStanding reads back what communities say about people and services.
func TestStanding(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		ban := func(key int, subject syntax.DID, more map[string]any) Op {
			op := put(BanCollection, rkey(key), map[string]any{"community": string(commons), "subject": string(subject),
				"banType": "moderator", "reason": "spam"})
			for k, v := range more {
				op.Record[k] = v
			}
			return op
		}
		carol, dave := syntax.DID("did:plc:carol"), syntax.DID("did:plc:dave")
		moderator := put(ModeratorCollection, rkey(1), map[string]any{"community": string(commons), "user": string(alice), "role": "admin",
			"createdBy": string(alice)})
		authorize := func(key syntax.RecordKey, enabled bool) Op {
			return put(AuthorizationCollection, key, map[string]any{"aggregatorDid": string(dave), "communityDid": string(commons),
				"enabled": enabled, "createdBy": string(alice)})
		}
		profile := put(CommunityCollection, "self", map[string]any{"name": "commons", "createdBy": string(alice), "hostedBy": "did:web:example.com"})
		apply(t, x, prepare(t, x, commons, 1, profile, moderator, authorize("a", true),
			ban(1, alice, nil), ban(2, bob, map[string]any{"duration": int64(2)}), // made an hour ago
			ban(3, carol, map[string]any{"expiresAt": "2026-03-01T11:59:59Z"}), ban(4, dave, map[string]any{"status": "overturned"}),
			put(RulesCollection, "self", map[string]any{"textRules": []any{}})))
		for did, want := range map[syntax.DID]bool{alice: true, bob: true, carol: false, dave: false} {
			if got, err := x.Banned(t.Context(), commons, did); got != want || err != nil {
				t.Errorf("%s banned: %v, %v; want %v", did, got, err, want)
			}
			apply(t, x, prepare(t, x, did, 1, subscribe(1, commons)))
		}
		c, ok, err := x.Community(t.Context(), commons)
		if !ok || err != nil || c.Subscribers != 4 || c.Members != 2 || c.Name != "commons" || c.Hosted != nil {
			t.Errorf("community: %+v, %v, %v; want 4 subscribers of whom 2 are members", c, ok, err)
		}
		moderators, err := x.Moderators(t.Context(), commons)
		if len(moderators) != 1 || moderators[0].DID != alice || moderators[0].Role != "admin" || err != nil {
			t.Errorf("moderators: %+v, %v", moderators, err)
		}
		if ok, err := x.Authorized(t.Context(), commons, dave); !ok || err != nil {
			t.Errorf("authorized: %v, %v", ok, err)
		}
		apply(t, x, prepare(t, x, commons, 2, authorize("b", false)))
		if ok, err := x.Authorized(t.Context(), commons, dave); ok || err != nil {
			t.Errorf("no longer authorized: %v, %v", ok, err)
		}
		if _, ok, err := x.Rules(t.Context(), commons); !ok || err != nil {
			t.Errorf("rules: %v, %v", ok, err)
		}
	})
}

// TestProfile holds that a person is found with and without a record, and what
// they have done is counted.
func TestProfile(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a")), comment(1, uri, uri), subscribe(1, commons)))
		p, ok, err := x.Profile(t.Context(), alice)
		if !ok || err != nil || p.Posts != 1 || p.Comments != 1 || p.Communities != 1 || p.Record != nil {
			t.Errorf("profile: %+v, %v, %v", p, ok, err)
		}
		apply(t, x, prepare(t, x, alice, 2, put(PersonCollection, "self", map[string]any{"createdAt": "2999-01-01T00:00:00Z"})))
		if p, _, _ = x.Profile(t.Context(), alice); !p.CreatedAt.Equal(noon) {
			t.Errorf("made at %v, want now at the latest", p.CreatedAt)
		}
		applyAccounts(t, x, AccountEvent{DID: alice, Status: &Status{Reason: "deactivated", At: noon.Add(-time.Minute)}})
		if _, ok, err := x.Profile(t.Context(), alice); ok || err != nil {
			t.Errorf("of an account that is not active: %v, %v", ok, err)
		}
		if _, ok, err := x.Profile(t.Context(), bob); ok || err != nil {
			t.Errorf("of nobody: %v, %v", ok, err)
		}
	})
}
