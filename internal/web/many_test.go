package web

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/test/size"
)

// applyMany puts n records into the index at once.
func (s *site) applyMany(t *testing.T, n int, collection syntax.NSID, record func(i int) (person, syntax.RecordKey, map[string]any)) {
	t.Helper()
	commits := make([]index.Commit, n)
	for i := range commits {
		who, key, r := record(i)
		r["$type"], r["createdAt"] = collection.String(), "2026-01-02T03:04:05Z"
		rev := syntax.NewTIDFromTime(sampleNow.Add(-time.Hour+time.Duration(i)*time.Millisecond), 1)
		if key == "" {
			key = syntax.RecordKey(rev)
		}
		var drops []index.Drop
		commits[i], drops = s.index.Prepare(syntax.DID(who.DID), rev, []index.Op{{Action: index.Create, Collection: collection, RKey: key, CID: someCID, Record: r}})
		if len(drops) > 0 {
			t.Fatal(drops)
		}
	}
	err := s.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := s.index.Apply(t.Context(), tx, commits)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	olderLink   = regexp.MustCompile(`<p class="older"><a [^>]*href="([^"]+)"`)
	unblockForm = regexp.MustCompile(`name="subject" value="([^"]+)"`)
)

// TestPagesOfWhoHasThousands: the pages of a member who follows and blocks
// thousands are as small as anybody's, and lists of them lead to all.
func TestPagesOfWhoHasThousands(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := size.Size(250, 10_000)
	named := func(kind string, i int) person { return person{DID: fmt.Sprintf("did:plc:%s%019d", kind, i)} }
	s.applyMany(t, n, index.CommunityCollection, func(i int) (person, syntax.RecordKey, map[string]any) {
		return named("place", i), "self", map[string]any{"name": fmt.Sprint("c", i), "createdBy": bob.DID, "hostedBy": "did:web:example.com"}
	})
	s.applyMany(t, n, index.SubscriptionCollection, func(i int) (person, syntax.RecordKey, map[string]any) {
		return alice, "", map[string]any{"subject": named("place", i).DID}
	})
	for _, kind := range []syntax.NSID{index.PersonBlockCollection, index.CommunityBlockCollection} {
		s.applyMany(t, n, kind, func(i int) (person, syntax.RecordKey, map[string]any) {
			return alice, "", map[string]any{"subject": named("blckd", i).DID}
		})
	}
	s.applyMany(t, 100, index.PostCollection, func(i int) (person, syntax.RecordKey, map[string]any) {
		return named([]string{"blckd", "other"}[i%2], i), postKey(i), map[string]any{"community": named("place", i).DID, "title": fmt.Sprint("by ", i%2)}
	})
	b := s.member(t, alice)
	for _, path := range []string{"/", "/?sort=new", "/discover", "/all", "/communities", "/account/blocks", "/account/blocks?of=communities",
		"/c/" + named("place", 1).DID, "/u/" + named("other", 1).DID, "/posts/new", "/account"} {
		if a := b.get(path).is(200); len(a.body) > 200<<10 {
			t.Errorf("GET %s: %d bytes", path, len(a.body))
		}
	}
	b.get("/discover").is(200, "by 1").lacks("by 0")
	for _, first := range []string{"/account/blocks", "/account/blocks?of=communities"} {
		seen := map[string]bool{}
		pages := 0
		for path := first; path != ""; pages++ {
			a := b.get(path).is(200)
			for _, m := range unblockForm.FindAllStringSubmatch(a.body, -1) {
				if seen[m[1]] {
					t.Errorf("%s: %s is there twice", path, m[1])
				}
				seen[m[1]] = true
			}
			path = ""
			if m := olderLink.FindStringSubmatch(a.body); m != nil {
				path = m[1]
			}
		}
		if len(seen) != n {
			t.Errorf("%s shows %d on %d pages, want %d", first, len(seen), pages, n)
		}
	}
}
