package post

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestCreate holds that the writer sees a post at once, with names, and that
// the record is whole.
func TestCreate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk()
		s, x := newService(t, db, d, people{})
		in := CreateInput{
			Community: "!commons.example.com", Title: " Hi ", Content: "see <this>",
			Facets: json.RawMessage(`[{"index":{"byteStart":4,"byteEnd":10},"features":[{"$type":"social.coves.richtext.facet#bold"}]}]`),
			Embed:  json.RawMessage(`{"$type":"social.coves.embed.external","external":{"uri":"https://example.com"}}`),
			Langs:  []string{"en"}, Tags: []string{"a"},
		}
		got, err := s.Create(t.Context(), actor, in)
		if err != nil {
			t.Fatal(err)
		}
		key := syntax.TID(d.done[0].RKey)
		want := []index.Post{{
			Author:    index.Person{Account: index.Account{DID: alice, Handle: "alice.example.com"}},
			Community: index.Place{Account: index.Account{DID: commons, Handle: "commons.example.com"}},
			RKey:      d.done[0].RKey, CID: got.CID, CreatedAt: key.Time(),
			Record: json.RawMessage(`{"$type":"social.coves.community.postv2","community":"` + string(commons) + `","content":"see <this>",` +
				`"createdAt":"` + key.Time().Format("2006-01-02T15:04:05.000000Z") + `",` +
				`"embed":{"$type":"social.coves.embed.external","external":{"uri":"https://example.com"}},` +
				`"facets":[{"features":[{"$type":"social.coves.richtext.facet#bold"}],"index":{"byteEnd":10,"byteStart":4}}],` +
				`"langs":["en"],"tags":["a"],"title":"Hi"}`),
		}}
		posts := newest(t, x)
		if len(posts) != 1 {
			t.Fatalf("%d posts", len(posts))
		}
		want[0].ID, want[0].CommunityID, want[0].IndexedAt = posts[0].ID, posts[0].CommunityID, posts[0].IndexedAt
		if diff := cmp.Diff(want, posts); diff != "" || posts[0].URI() != got.URI {
			t.Errorf("post %s, want %s (-want +got):\n%s", posts[0].URI(), got.URI, diff)
		}
	})
}

// TestRepeated holds that a repeated request is the same record, byte for
// byte, and one post.
func TestRepeated(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk()
		s, x := newService(t, db, d, people{})
		in := CreateInput{Community: string(commons), Title: "once", Key: "k"}
		for range 3 {
			if _, err := s.Create(t.Context(), actor, in); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(d.done[0], d.done[2]); diff != "" {
			t.Errorf("first and third attempt differ:\n%s", diff)
		}
		if posts := newest(t, x); len(posts) != 1 {
			t.Errorf("%d posts", len(posts))
		}
	})
}

// TestBadInput holds that nothing is written, and nothing is asked of anybody,
// for what breaks a limit.
func TestBadInput(t *testing.T) {
	t.Parallel()
	family := "👩‍👩‍👧‍👦" // one grapheme, 25 bytes
	ok := func(change func(*CreateInput)) CreateInput {
		in := CreateInput{Community: string(commons), Title: "t", Content: "héllo"}
		change(&in)
		return in
	}
	facet := func(start, end int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`[{"index":{"byteStart":%d,"byteEnd":%d},"features":[]}]`, start, end))
	}
	tests := []struct {
		name string
		in   CreateInput
		code string
	}{
		{"nothing", CreateInput{Community: string(commons), Title: " ", Content: "\n"}, "ContentEmpty"},
		{"title of 301", ok(func(in *CreateInput) { in.Title = strings.Repeat("é", 301) }), "ContentTooLong"},
		{"title of 121 families", ok(func(in *CreateInput) { in.Title = strings.Repeat(family, 121) }), "ContentTooLong"},
		{"title of two lines", ok(func(in *CreateInput) { in.Title = "a\nb" }), "InvalidRequest"},
		{"text of 10,001", ok(func(in *CreateInput) { in.Content = strings.Repeat("x", 10001) }), "ContentTooLong"},
		{"text of a megabyte", ok(func(in *CreateInput) { in.Content = strings.Repeat("x", 1<<20) }), "ContentTooLong"},
		{"U+0000", ok(func(in *CreateInput) { in.Content = "a\x00b" }), "InvalidRequest"},
		{"U+0000 deep inside", ok(func(in *CreateInput) {
			in.Embed = json.RawMessage(`{"$type":"org.example.x","y":{"z":["a\u0000b"]}}`)
		}), "InvalidRequest"},
		{"bad UTF-8", ok(func(in *CreateInput) { in.Content = "a\xffb" }), "InvalidRequest"},
		{"escape character", ok(func(in *CreateInput) { in.Title = "a\x1b[31mb" }), "InvalidRequest"},
		{"four languages", ok(func(in *CreateInput) { in.Langs = []string{"a", "b", "c", "d"} }), "InvalidRequest"},
		{"no language", ok(func(in *CreateInput) { in.Langs = []string{"English please"} }), "InvalidRequest"},
		{"nine tags", ok(func(in *CreateInput) { in.Tags = strings.Split("abcdefghi", "") }), "InvalidRequest"},
		{"empty tag", ok(func(in *CreateInput) { in.Tags = []string{" "} }), "InvalidRequest"},
		{"long tag", ok(func(in *CreateInput) { in.Tags = []string{strings.Repeat("x", 65)} }), "ContentTooLong"},
		{"facet beyond the text", ok(func(in *CreateInput) { in.Facets = facet(0, 7) }), "InvalidRequest"},
		{"facet that cuts a character", ok(func(in *CreateInput) { in.Facets = facet(0, 2) }), "InvalidRequest"},
		{"facet backwards", ok(func(in *CreateInput) { in.Facets = facet(3, 3) }), "InvalidRequest"},
		{"facet below zero", ok(func(in *CreateInput) { in.Facets = facet(-1, 1) }), "InvalidRequest"},
		{"facet without range", ok(func(in *CreateInput) { in.Facets = json.RawMessage(`[{"features":[]}]`) }), "InvalidRequest"},
		{"facets are text", ok(func(in *CreateInput) { in.Facets = json.RawMessage(`"x"`) }), "InvalidRequest"},
		{"201 facets", ok(func(in *CreateInput) {
			in.Facets = json.RawMessage("[" + strings.Repeat(strings.Trim(string(facet(0, 1)), "[]")+",", 200) + strings.Trim(string(facet(0, 1)), "[]") + "]")
		}), "InvalidRequest"},
		{"embed is text", ok(func(in *CreateInput) { in.Embed = json.RawMessage(`"x"`) }), "InvalidRequest"},
		{"embed without its field", ok(func(in *CreateInput) { in.Embed = json.RawMessage(`{"$type":"social.coves.embed.post"}`) }), "InvalidRequest"},
		{"embed with a fraction", ok(func(in *CreateInput) { in.Embed = json.RawMessage(`{"$type":"org.example.x","y":1.5}`) }), "InvalidRequest"},
		{"no community", ok(func(in *CreateInput) { in.Community = " " }), "InvalidRequest"},
		{"community is a server", ok(func(in *CreateInput) { in.Community = "https://pds.example.com" }), "InvalidRequest"},
		{"community is nonsense", ok(func(in *CreateInput) { in.Community = "not a handle" }), "InvalidRequest"},
		{"community of 2 KB", ok(func(in *CreateInput) { in.Community = "did:web:" + strings.Repeat("a", 3000) }), "InvalidRequest"},
		{"community unknown", ok(func(in *CreateInput) { in.Community = "nobody.example.com" }), "CommunityNotFound"},
	}
	db := storetest.New(t, store.SQLite)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			s, _ := newService(t, db, d, people{})
			_, err := s.Create(t.Context(), actor, tt.in)
			var f *fault.Error
			if !errors.As(err, &f) || f.Code != tt.code || f.Public == "" {
				t.Errorf("got %v, want %s", err, tt.code)
			}
			if got, want := errors.Is(err, community.ErrCommunity), strings.Contains(tt.name, "community"); got != want {
				t.Errorf("%v is about the community: %t, want %t", err, got, want)
			}
			if len(d.done) > 0 {
				t.Errorf("written: %v", d.done)
			}
		})
	}
}

// TestNothingToIndex holds that an answer without a revision, or a database
// that is away, does not turn a written post into an error.
func TestNothingToIndex(t *testing.T) {
	t.Parallel()
	in := CreateInput{Community: string(commons), Title: "t"}
	t.Run("no revision", func(t *testing.T) {
		t.Parallel()
		d := newDesk()
		d.answer = func(w agent.Write) (agent.Done, error) {
			done := written(alice, w)
			done.Rev = ""
			return done, nil
		}
		s, x := newService(t, storetest.New(t, store.SQLite), d, people{})
		if _, err := s.Create(t.Context(), actor, in); err != nil {
			t.Error(err)
		}
		if posts := newest(t, x); len(posts) != 0 {
			t.Errorf("%d posts", len(posts))
		}
	})
	t.Run("database away", func(t *testing.T) {
		t.Parallel()
		db := storetest.New(t, store.SQLite)
		s, _ := newService(t, db, newDesk(), people{})
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `DROP TABLE post`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if created, err := s.Create(t.Context(), actor, in); err != nil || created.URI == "" {
			t.Errorf("got %+v, %v", created, err)
		}
	})
}

func TestDirectoryDown(t *testing.T) {
	t.Parallel()
	s, _ := newService(t, storetest.New(t, store.SQLite), newDesk(), people{down: true})
	_, err := s.Create(t.Context(), actor, CreateInput{Community: "commons.example.com", Title: "t"})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}
