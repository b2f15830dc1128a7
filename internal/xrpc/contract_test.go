package xrpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/lexicon"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/lexicons"
)

// fieldsOf are the parameters of a query, or the fields of a procedure's input.
func fieldsOf(t *testing.T, catalog lexicon.Catalog, m method) map[string]lexicon.SchemaDef {
	t.Helper()
	schema, err := catalog.Resolve(m.nsid.String())
	if err != nil {
		t.Fatal(err)
	}
	switch def := schema.Def.(type) {
	case lexicon.SchemaQuery:
		if def.Parameters != nil {
			return def.Parameters.Properties
		}
	case lexicon.SchemaProcedure:
		if def.Input != nil && def.Input.Schema != nil {
			if object, ok := def.Input.Schema.Inner.(lexicon.SchemaObject); ok {
				return object.Properties
			}
		}
	}
	return nil
}

// TestAtIdentifiers holds C1 for every method whose lexicon takes an account or
// a community: every form of a name is understood, what is malformed is 400
// InvalidRequest, what nobody has is 404 under its name.
func TestAtIdentifiers(t *testing.T) {
	t.Parallel()
	catalog := must(lexicons.NewCatalog())(t)
	a := newAPI(t)
	a.found()
	a.desk.records[pds.Place{Repo: commons, Collection: index.CommunityCollection, RKey: "self"}] = map[string]any{
		"$type": string(index.CommunityCollection), "name": "commons", "createdAt": "2026-01-02T03:04:05Z",
		"createdBy": string(alice), "hostedBy": "did:web:example.com"}
	cookie := a.signIn("", alice)
	more := map[string]string{ // what a method needs besides
		"social.coves.community.post.create": `,"title":"t"`, "social.coves.community.update": `,"description":"d"`,
		"social.coves.actor.getPosts": "&actor=" + string(alice), "social.coves.actor.getComments": "&actor=" + string(alice),
	}
	ask := func(m method, field, text string) answer {
		if m.verb == http.MethodPost {
			return a.post(m.nsid.String(), cookie, fmt.Sprintf(`{%q:%q%s}`, field, text, more[m.nsid.String()]))
		}
		query := "?" + url.Values{field: {text}}.Encode()
		if field != "actor" {
			query += more[m.nsid.String()]
		}
		return a.do(call{verb: "GET", path: Prefix + m.nsid.String() + query})
	}
	asked := 0
	for _, m := range append(a.all(), a.aggregatorMethods()...) {
		for field, def := range fieldsOf(t, catalog, m) {
			text, ok := def.Inner.(lexicon.SchemaString)
			if !ok || text.Format == nil || *text.Format != "at-identifier" {
				continue
			}
			asked++
			forms, missing := []string{"commons.example.com", "@commons.example.com", "COMMONS.example.com", string(commons)}, "ProfileNotFound"
			if field == "community" {
				forms, missing = append(forms, "!commons.example.com", "!commons@example.com"), "CommunityNotFound"
			}
			for _, form := range forms {
				a.found() // an update says that it is hosted here
				got := ask(m, field, form)
				// Who is no community, and oneself, is another answer.
				if got.status != http.StatusOK && got.Error != "InvalidSubject" {
					t.Errorf("%s with %s %s: %d %s", m.nsid, field, form, got.status, got.body)
				}
			}
			for form, want := range map[string]string{
				"nobody.example.com": "404 " + missing, "not a name": "400 InvalidRequest", "https://commons.example.com": "400 InvalidRequest",
				"did:plc:": "400 InvalidRequest", "!@": "400 InvalidRequest", "": "400 InvalidRequest", strings.Repeat("a", 3000): "400 InvalidRequest",
			} {
				if form == "" && m.verb == http.MethodGet && field == "community" && more[m.nsid.String()] != "" {
					continue // it may be left out
				}
				if got := ask(m, field, form); fmt.Sprint(got.status, " ", got.Error) != want {
					t.Errorf("%s with %s %.40q: %d %s (%s), want %s", m.nsid, field, form, got.status, got.Error, got.Words, want)
				}
			}
		}
	}
	if asked < 14 {
		t.Errorf("%d fields with at-identifiers, want all of them", asked)
	}
}

// TestEveryProcedureRefuses holds what every procedure has in common, also one
// that is added tomorrow: no input, wrong input, too much of it, fields of the
// wrong type, visitors and other people's cookies; and that nothing is written.
func TestEveryProcedureRefuses(t *testing.T) {
	t.Parallel()
	catalog := must(lexicons.NewCatalog())(t)
	a := newAPI(t)
	a.found()
	cookie, other := a.signIn("", alice), a.signIn("", bob)
	for _, m := range append(a.all(), a.aggregatorMethods()...) {
		if m.verb != http.MethodPost {
			continue
		}
		nsid := m.nsid.String()
		if got := a.post(nsid, "", "{}"); got.status != 401 || got.Error != "AuthRequired" {
			t.Errorf("%s by a visitor: %d %s", nsid, got.status, got.Error)
		}
		if got := a.post(nsid, other, "{}"); got.status == 200 {
			t.Errorf("%s as alice with bob's cookie: %d %s", nsid, got.status, got.body)
		}
		fields := fieldsOf(t, catalog, m)
		if fields == nil {
			continue // it takes no JSON
		}
		if got := a.post(nsid, cookie, "{}", "Content-Type", "text/plain"); got.status != 400 || got.Error != "InvalidRequest" {
			t.Errorf("%s as text: %d %s", nsid, got.status, got.Error)
		}
		if got := a.post(nsid, cookie, `{"x":"`+strings.Repeat("x", 9<<20)+`"}`); got.status != 413 || got.Error != "RequestTooLarge" {
			t.Errorf("%s with 9 MB: %d %s", nsid, got.status, got.Error)
		}
		bodies := []string{"", "null", "7", "[]", "{", "{}{}", "\"\xff\"", `{"x":"` + "\xff" + `"}`}
		if m.nsid != "social.coves.actor.updateProfile" { // to change nothing is a change
			bodies = append(bodies, "{}", `{"more":1}`)
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			wrong := `7`
			if _, ok := fields[name].Inner.(lexicon.SchemaInteger); ok {
				wrong = `"x"`
			}
			bodies = append(bodies, fmt.Sprintf(`{%s:%s}`, must(json.Marshal(name))(t), wrong))
		}
		for _, body := range bodies {
			if got := a.post(nsid, cookie, body); got.status != 400 {
				t.Errorf("%s %q: %d %s (%s)", nsid, body, got.status, got.Error, got.Words)
			}
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
}
