package xrpc

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/test/size"
)

// applyMany puts n records into the index at once, each with a key of its own.
func (a *api) applyMany(n int, collection syntax.NSID, record func(i int) (syntax.DID, syntax.RecordKey, map[string]any)) {
	a.t.Helper()
	commits := make([]index.Commit, n)
	for i := range commits {
		did, key, r := record(i)
		r["$type"], r["createdAt"] = collection.String(), "2026-01-02T03:04:05Z"
		rev := syntax.NewTIDFromTime(time.Now().Add(-time.Hour+time.Duration(i)*time.Millisecond), 1)
		if key == "" {
			key = syntax.RecordKey(rev)
		}
		var drops []index.Drop
		commits[i], drops = a.index.Prepare(did, rev, []index.Op{{Action: index.Create, Collection: collection, RKey: key,
			CID: "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", Record: r}})
		if len(drops) > 0 {
			a.t.Fatal(drops)
		}
	}
	err := a.db.Tx(a.t.Context(), func(tx *store.Tx) error {
		_, err := a.index.Apply(a.t.Context(), tx, commits)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// walk pages through a list and returns the values of a field in it, in order.
func (a *api) walk(path, cookie, field string) []string {
	a.t.Helper()
	var out []string
	for cursor := ""; ; {
		got := a.do(call{verb: "GET", path: Prefix + path + "&cursor=" + url.QueryEscape(cursor), cookie: cookie})
		if got.status != 200 || len(got.body) > 1<<20 {
			a.t.Fatalf("%s after %d: %d with %d bytes: %.300s", path, len(out), got.status, len(got.body), got.body)
		}
		for _, part := range strings.Split(got.body, `"`+field+`":"`)[1:] {
			value, _, _ := strings.Cut(part, `"`)
			out = append(out, value)
		}
		var page struct{ Cursor string }
		if err := json.Unmarshal([]byte(got.body), &page); err != nil {
			a.t.Fatal(err)
		}
		if cursor = page.Cursor; cursor == "" {
			return out
		}
	}
}

// TestTenThousandOfEverything: who follows and blocks thousands is answered like
// anybody else, page by page, with nothing missing and nothing twice.
func TestTenThousandOfEverything(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	n := size.Size(250, 10_000)
	did := func(kind string, i int) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:%s%019d", kind, i)) }
	a.applyMany(n, index.CommunityCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		return did("place", i), "self", map[string]any{"name": fmt.Sprint("c", i), "createdBy": string(alice), "hostedBy": "did:web:example.com"}
	})
	a.applyMany(n, index.SubscriptionCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		return carol, "", map[string]any{"subject": did("place", i).String(), "contentVisibility": int64(5)}
	})
	a.applyMany(n, index.PersonBlockCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		return carol, "", map[string]any{"subject": did("blckd", i).String()}
	})
	a.applyMany(n, index.CommunityBlockCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		return carol, "", map[string]any{"subject": did("gonex", i).String()}
	})
	// Every other post is by somebody who is blocked.
	const posts = 120
	postOf := func(i int) (author, place syntax.DID) {
		if i%2 == 0 {
			return did("blckd", i), did("place", i)
		}
		return did("other", i), did("place", i)
	}
	keys := make([]syntax.RecordKey, posts)
	for i := range keys {
		keys[i] = tidOf(i)
	}
	a.applyMany(posts, index.PostCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		author, place := postOf(i)
		return author, keys[i], map[string]any{"community": place.String(), "title": "t"}
	})
	a.applyMany(posts, index.AcceptanceCollection, func(i int) (syntax.DID, syntax.RecordKey, map[string]any) {
		author, place := postOf(i)
		uri := syntax.ATURI("at://" + author.String() + "/" + index.PostCollection.String() + "/" + keys[i].String())
		return place, index.AdmissionKey(uri), map[string]any{"subject": map[string]any{"uri": uri.String(),
			"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}}
	})
	cookie := a.signIn("", carol)
	for path, tt := range map[string]struct {
		field string
		want  int
	}{
		"social.coves.feed.getTimeline?sort=new&limit=50":                        {"rkey", posts / 2},
		"social.coves.feed.getTimeline?sort=hot&limit=50":                        {"rkey", posts / 2},
		"social.coves.feed.getDiscover?sort=new&limit=50":                        {"rkey", posts / 2},
		"social.coves.feed.getAll?sort=top&timeframe=all&limit=50":               {"rkey", posts / 2},
		"social.coves.community.list?subscribed=true&limit=100":                  {"name", n},
		"social.coves.community.list?sort=new&limit=100":                         {"name", n},
		"social.coves.actor.getBlockedUsers?limit=100":                           {"blockedDid", n},
		"social.coves.community.getBlockedCommunities?limit=100":                 {"recordUri", n},
		"social.coves.actor.getPosts?limit=100&actor=" + string(did("other", 1)): {"rkey", 1},
	} {
		got := a.walk(path, cookie, tt.field)
		seen := map[string]bool{}
		for _, value := range got {
			seen[value] = true
		}
		if len(got) != tt.want || len(seen) != tt.want {
			t.Errorf("%s: %d items, %d of them different, want %d", path, len(got), len(seen), tt.want)
		}
	}
	if got := a.walk("social.coves.actor.getPosts?limit=100&actor="+string(did("blckd", 0)), cookie, "rkey"); len(got) > 0 {
		t.Errorf("posts of somebody who is blocked: %v", got)
	}
}
