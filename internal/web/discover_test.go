package web

import (
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

const someCID = syntax.CID("bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a")

// postKey is the key of the n-th post, a minute before the one after it.
func postKey(n int) syntax.RecordKey {
	at := sampleNow.Add(-24*time.Hour + time.Duration(n)*time.Minute)
	return syntax.RecordKey(syntax.NewTIDFromTime(at, 7))
}

// write puts a post into the index, as a stream brings it.
func (s *site) write(t *testing.T, author person, n int, record map[string]any) {
	t.Helper()
	whole := map[string]any{"$type": string(index.PostCollection), "community": commons.DID,
		"createdAt": sampleNow.Add(-24*time.Hour + time.Duration(n)*time.Minute).Format("2006-01-02T15:04:05.000Z")}
	for key, value := range record {
		whole[key] = value
	}
	commit, drops := s.index.Prepare(syntax.DID(author.DID), syntax.TID(postKey(n)), []index.Op{{
		Action: index.Create, Collection: index.PostCollection, RKey: postKey(n), CID: someCID, Record: whole}})
	if len(drops) > 0 {
		t.Fatalf("post %d was dropped: %v", n, drops)
	}
	err := s.db.Tx(t.Context(), func(tx *store.Tx) error {
		if _, err := s.index.Apply(t.Context(), tx, []index.Commit{commit}); err != nil {
			return err
		}
		for _, p := range []person{author, commons} {
			if err := s.index.Identify(t.Context(), tx, index.Identity{DID: syntax.DID(p.DID), Handle: syntax.Handle(p.Handle)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDiscoverShowsNewestFirstAndPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const total = 2*feedLimit + 5
	for n := range total {
		s.write(t, alice, n, map[string]any{"title": fmt.Sprintf("Post number %02d.", n)})
	}
	b := s.browser(t)
	var seen []string
	for path, pages := "/discover?sort=new", 0; path != ""; pages++ {
		a := b.get(path).is(200)
		for _, part := range strings.Split(a.body, "Post number ")[1:] {
			seen = append(seen, part[:2])
		}
		path = ""
		if _, rest, more := strings.Cut(a.body, `<p class="older"><a class="button plain" href="`); more {
			path, _, _ = strings.Cut(rest, `"`)
			path = html.UnescapeString(path)
		}
		if pages > 5 {
			t.Fatal("paging does not end")
		}
	}
	if len(seen) != total || seen[0] != fmt.Sprint(total-1) || seen[total-1] != "00" {
		t.Errorf("paging showed %d posts from %s to %s, want %d, newest first", len(seen), seen[0], seen[len(seen)-1], total)
	}
	b.get("/discover?cursor=forged").is(400, "Begin again with the first", `href="/discover">Back to the beginning`)
	b.get("/discover?cursor=" + ok(index.NewCursors(make([]byte, 32)))(t).Seal("another listing", 1, 2, 3, 4)).is(400)
}

func TestDiscoverSaysWhatToDoWhenEmpty(t *testing.T) {
	t.Parallel()
	newSite(t).browser(t).get("/discover").is(200, "Nothing here yet", "This server is listening").lacks("[[source]]")
	quiet := newSite(t, func(c *Config) { c.Listening = false })
	quiet.browser(t).get("/discover").is(200, "[[source]]", `kind = &#34;repos&#34;`)
}

func TestDiscoverShowsAuthorCommunityTimeAndState(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, bob, 0, map[string]any{"title": "Hello", "content": "Line"})
	s.browser(t).get("/discover").is(200, "commons.one.test", "@bob.two.test", `<time datetime="2026-03-13T15:09:26Z"`, "1 day ago",
		"Not admitted by the community yet", `id="`+postAnchor(bob.DID, postKey(0).String())+`"`, "Sign in to write")
	s.member(t, alice).get("/discover").is(200, `<form method="post" action="/posts" enctype="multipart/form-data"`, `<option value="commons.one.test">`).lacks("Sign in to write")
}

// Hostile records go through the real index and come out as text.
func TestHostileRecordsAreText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for n, text := range hostile {
		facets := []any{map[string]any{
			"index": map[string]any{"byteStart": int64(0), "byteEnd": int64(len(text))},
			"features": []any{
				map[string]any{"$type": facetPrefix + "link", "uri": "javascript:alert(document.cookie)"},
				map[string]any{"$type": facetPrefix + "spoiler", "reason": text},
				map[string]any{"$type": facetPrefix + "mention", "did": "did:plc:" + strings.Repeat("a", 24)},
			},
		}}
		s.write(t, alice, n, map[string]any{"title": text, "content": text, "facets": facets})
	}
	a := s.browser(t).get("/discover").is(200) // every page is audited
	if strings.Contains(strings.ReplaceAll(a.body, "javascript:alert(1)", ""), "javascript:") {
		t.Error("a link with the scheme javascript was kept")
	}
	if got := strings.Count(a.body, `<li id="`); got != len(hostile) {
		t.Errorf("%d of %d hostile posts are shown", got, len(hostile))
	}
}
