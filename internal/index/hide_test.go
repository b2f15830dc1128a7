package index

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestPostIsWhole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		record := post(commons, "<b>&")
		record["facets"] = []any{} // unknown to the columns, kept in the record
		apply(t, x, prepare(t, x, alice, 1, create(1, record)))
		identify(t, x, Identity{DID: commons, Handle: "commons.example.com", PDS: "https://pds.example.com"})
		posts := listed(t, x, Viewer{}, ForStrangers)
		want := []Post{{
			ID: posts[0].ID, CommunityID: posts[0].CommunityID, Author: Person{Account: Account{DID: alice}}, Community: Place{Account: Account{DID: commons, Handle: "commons.example.com"}},
			RKey: rkey(1), CID: someCID, CreatedAt: noon.Add(-time.Hour), IndexedAt: noon,
			Record: []byte(`{"$type":"social.coves.community.postv2","community":"` + string(commons) +
				`","createdAt":"2026-03-01T11:00:00.000Z","facets":[],"title":"<b>&"}`),
		}}
		if diff := cmp.Diff(want, posts); diff != "" {
			t.Errorf("the post (-want +got):\n%s", diff)
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

func TestCursors(t *testing.T) {
	t.Parallel()
	c, err := NewCursors(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	at := []int64{-5, 1 << 60, 0}
	good := c.Seal("discover new", at...)
	if got, err := c.Open("discover new", good, 3); !slices.Equal(got, at) || err != nil {
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
		"tampered": base64.RawURLEncoding.EncodeToString(raw), "foreign key": other.Seal("discover new", at...),
		"of other length": c.Seal("discover new", 1, 2),
		"foreign listing": c.Seal("discover hot", at...),
	}
	for name, text := range bad {
		_, err := c.Open("discover new", text, 3)
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
	f.Add(c.Seal("x", 1, 2))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := c.Open("x", text, 2); err == nil && c.Seal("x", p...) != text {
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
