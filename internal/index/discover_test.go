package index

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// fill writes n posts, two of each second, so that pages end between equals.
func fill(t *testing.T, x *Index, n int) {
	t.Helper()
	var commits []Commit
	for i := range n {
		op := create(i, post(commons, fmt.Sprint(i)))
		op.Record["createdAt"] = noon.Add(-time.Hour + time.Duration(i/2)*time.Second).Format(time.RFC3339)
		commits = append(commits, prepare(t, x, alice, i, op))
	}
	apply(t, x, commits...)
}

func TestDiscoverPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		fill(t, x, 25)
		var sizes []int
		seen := map[syntax.ATURI]bool{}
		last := noon
		for after := (*Position)(nil); ; {
			posts, next, err := x.Discover(t.Context(), 10, after)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(posts))
			for _, p := range posts {
				if seen[p.URI()] || p.CreatedAt.After(last) {
					t.Errorf("%s at %v: seen before %v, after %v", p.URI(), p.CreatedAt, seen[p.URI()], last)
				}
				seen[p.URI()], last = true, p.CreatedAt
			}
			if next == nil {
				break
			}
			after = next
		}
		if diff := cmp.Diff([]int{10, 10, 5}, sizes); diff != "" || len(seen) != 25 {
			t.Errorf("%d posts, pages (-want +got):\n%s", len(seen), diff)
		}
	})
}

func TestDiscoverExactlyOnePage(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		if posts, next, err := x.Discover(t.Context(), 10, nil); len(posts) != 0 || next != nil || err != nil {
			t.Errorf("empty: got %v, %v, %v", posts, next, err)
		}
		fill(t, x, 10)
		if posts, next, err := x.Discover(t.Context(), 10, nil); len(posts) != 10 || next != nil || err != nil {
			t.Errorf("full: got %d posts, next %v, %v", len(posts), next, err)
		}
	})
}

func TestDiscoverView(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		record := post(commons, "<b>&")
		record["facets"] = []any{} // unknown to the columns, kept in the record
		apply(t, x, prepare(t, x, alice, 1, create(1, record)))
		identify(t, x, Identity{DID: commons, Handle: "commons.example.com", PDS: "https://pds.example.com"})
		posts, _, err := x.Discover(t.Context(), 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []Post{{
			Author: Account{DID: alice}, Community: Account{DID: commons, Handle: "commons.example.com"},
			RKey: rkey(1), CID: someCID, CreatedAt: noon.Add(-time.Hour), IndexedAt: noon,
			Record: []byte(`{"$type":"social.coves.community.postv2","community":"` + string(commons) +
				`","createdAt":"2026-03-01T11:00:00.000Z","facets":[],"title":"<b>&"}`),
		}}
		if diff := cmp.Diff(want, posts); diff != "" {
			t.Errorf("Discover (-want +got):\n%s", diff)
		}
		if uri := posts[0].URI(); uri != syntax.ATURI("at://"+string(alice)+"/social.coves.community.postv2/"+string(rkey(1))) {
			t.Errorf("uri %s", uri)
		}
	})
}

func identify(t *testing.T, x *Index, id Identity) {
	t.Helper()
	err := x.db.Tx(t.Context(), func(tx *store.Tx) error { return x.Identify(t.Context(), tx, id) })
	if err != nil {
		t.Fatal(err)
	}
}

// TestDiscoverPlan holds that SQLite walks the index of the newest posts and
// sorts nothing, however many posts there are.
func TestDiscoverPlan(t *testing.T) {
	t.Parallel()
	x := newIndex(t, storetest.New(t, store.SQLite))
	query := discoverQuery + ` AND (p.created_at, p.id) < (CAST($2 AS BIGINT), CAST($3 AS BIGINT))
		ORDER BY p.created_at DESC, p.id DESC LIMIT $1`
	found, err := x.db.Read().QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, 10, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var plan []string
	for found.Next() {
		var id, parent, unused int
		var detail string
		if err := found.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(plan, "\n")
	if !strings.Contains(all, "post_newest") || strings.Contains(all, "TEMP B-TREE") {
		t.Errorf("plan:\n%s", all)
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	c, err := NewCursors(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	at := Position{createdAt: -5, id: 1 << 60}
	good := c.Seal("discover new", at)
	if got, err := c.Open("discover new", good); got != at || err != nil {
		t.Errorf("open: got %v, %v; want %v", got, err, at)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	raw[3] ^= 1
	other, err := NewCursors([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "text": "not a cursor", "cut": good[:len(good)-1], "longer": good + "AA",
		"tampered": base64.RawURLEncoding.EncodeToString(raw), "foreign key": other.Seal("discover new", at),
		"foreign listing": c.Seal("discover hot", at),
	}
	for name, text := range bad {
		_, err := c.Open("discover new", text)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != "InvalidCursor" {
			t.Errorf("%s: got %v, want InvalidCursor", name, err)
		}
	}
	if _, err := NewCursors(nil); err == nil {
		t.Error("a missing key was accepted")
	}
}

func FuzzCursor(f *testing.F) {
	c, err := NewCursors(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Seal("x", Position{1, 2}))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := c.Open("x", text); err == nil && c.Seal("x", p) != text {
			t.Errorf("%q opens as %v, which seals otherwise", text, p)
		}
	})
}

// TestDiscoverHides holds F4 as far as it reaches: what may not be seen is not
// there, and comes back when it may.
func TestDiscoverHides(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		profile := func(visibility string) Op {
			return put(CommunityCollection, "self", map[string]any{"name": "commons", "createdBy": string(alice),
				"hostedBy": "did:web:example.com", "visibility": visibility})
		}
		status := func(did syntax.DID, active bool, minute int) {
			applyAccounts(t, x, AccountEvent{DID: did, Status: &Status{Active: active, Reason: "suspended", At: noon.Add(time.Duration(minute-60) * time.Minute)}})
		}
		steps := []struct {
			name string
			do   func()
			want int
		}{
			{"a post", func() { apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a")))) }, 1},
			{"removed", func() { apply(t, x, prepare(t, x, commons, 1, removal(uri, someCID))) }, 0},
			{"restored", func() { apply(t, x, prepare(t, x, commons, 2, remove(RemovalCollection, admissionKey(uri)))) }, 1},
			{"unlisted", func() { apply(t, x, prepare(t, x, commons, 3, profile("unlisted"))) }, 0},
			{"private", func() { apply(t, x, prepare(t, x, commons, 4, profile("private"))) }, 0},
			{"a visibility of later", func() { apply(t, x, prepare(t, x, commons, 5, profile("friends"))) }, 0},
			{"public", func() { apply(t, x, prepare(t, x, commons, 6, profile("public"))) }, 1},
			{"author suspended", func() { status(alice, false, 1) }, 0},
			{"author back", func() { status(alice, true, 2) }, 1},
			{"community suspended", func() { status(commons, false, 1) }, 0},
			{"community back", func() { status(commons, true, 2) }, 1},
			{"no profile any more", func() { apply(t, x, prepare(t, x, commons, 7, remove(CommunityCollection, "self"))) }, 1},
			{"deleted", func() { apply(t, x, prepare(t, x, alice, 2, remove(PostCollection, rkey(1)))) }, 0},
		}
		for _, s := range steps {
			s.do()
			if got := titles(t, x); got != s.want {
				t.Errorf("%s: %d posts, want %d", s.name, got, s.want)
			}
		}
	})
}
