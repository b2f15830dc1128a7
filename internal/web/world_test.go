package web

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/net/html"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// apply puts a record into the index, as a stream brings it, and its author's
// handle.
func (s *site) apply(t *testing.T, author person, collection syntax.NSID, key syntax.RecordKey, record map[string]any) syntax.ATURI {
	t.Helper()
	record["$type"] = collection.String()
	s.pds.mu.Lock()
	rev := s.pds.rev()
	s.pds.mu.Unlock()
	commit, drops := s.index.Prepare(syntax.DID(author.DID), rev, []index.Op{{Action: index.Create, Collection: collection, RKey: key,
		CID: ok(agent.RecordCID(record))(t), Record: record}})
	if len(drops) > 0 {
		t.Fatal(drops)
	}
	err := s.db.Tx(t.Context(), func(tx *store.Tx) error {
		if _, err := s.index.Apply(t.Context(), tx, []index.Commit{commit}); err != nil {
			return err
		}
		return s.index.Identify(t.Context(), tx, index.Identity{DID: syntax.DID(author.DID), Handle: syntax.Handle(author.Handle)})
	})
	if err != nil {
		t.Fatal(err)
	}
	return syntax.ATURI("at://" + author.DID + "/" + collection.String() + "/" + key.String())
}

// found makes commons a community of another server.
func (s *site) found(t *testing.T) {
	t.Helper()
	s.apply(t, commons, index.CommunityCollection, "self", map[string]any{"name": "commons", "displayName": "The Commons",
		"description": "What belongs to nobody.", "createdAt": "2026-01-02T03:04:05Z", "createdBy": bob.DID, "hostedBy": "did:web:one.test"})
}

// writes makes who write a post through the form, and returns its page.
func (b *browser) writes(who person, title string) (at string) {
	b.t.Helper()
	a := b.post("/posts", "acting", who.DID, "key", "key of "+title, "community", commons.DID, "title", title, "content", "Text of "+title).is(303)
	return a.header.Get("Location")
}

// fields are the fields of the form on a page that goes to action, as a browser
// would send them; buttons are left out.
func (a *answer) fields(action string) []string {
	a.t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	var out []string
	found := false
	var walk func(n *html.Node, inside bool)
	walk = func(n *html.Node, inside bool) {
		if n.Data == "form" && attrOf(n, "action") == action && !found {
			found, inside = true, true
		}
		name := attrOf(n, "name")
		switch {
		case !inside || name == "" || attrOf(n, "type") == "file":
		case n.Data == "textarea":
			out = append(out, name, strings.TrimPrefix(textOf(n), "\n"))
		case n.Data == "input" && attrOf(n, "type") != "radio" && attrOf(n, "type") != "checkbox" || hasAttr(n, "checked"):
			out = append(out, name, attrOf(n, "value"))
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, inside)
		}
	}
	walk(doc, false)
	if !found {
		a.t.Fatalf("%s: no form to %s:\n%s", a.what, action, a.body)
	}
	return out
}

// with replaces values among fields.
func with(fields []string, pairs ...string) []string {
	values := url.Values{}
	for _, list := range [][]string{fields, pairs} {
		for i := 0; i < len(list); i += 2 {
			values.Set(list[i], list[i+1])
		}
	}
	var out []string
	for name := range values {
		out = append(out, name, values.Get(name))
	}
	return out
}

// postFiles sends a form with files, as a browser does.
func (b *browser) postFiles(path string, files map[string][][]byte, fields ...string) *answer {
	b.t.Helper()
	return b.send(b.filesForm(path, files, fields...))
}

// filesForm is a request with a form and files.
func (b *browser) filesForm(path string, files map[string][][]byte, fields ...string) *http.Request {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			b.t.Fatal(err)
		}
	}
	for name, list := range files {
		for _, file := range list {
			part, err := w.CreateFormFile(name, "holiday.png")
			if err == nil {
				_, err = part.Write(file)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, path, &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", testOrigin)
	return r
}

// pngFile is a picture.
func pngFile(t *testing.T, w, h int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewRGBA(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// noise is a picture of size by size that cannot be made smaller.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	m, source := image.NewRGBA(image.Rect(0, 0, size, size)), rand.NewChaCha8([32]byte{})
	if _, err := source.Read(m.Pix); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 255
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// match is the first group of a pattern on a page.
func (a *answer) match(pattern string) string {
	a.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(a.body)
	if m == nil {
		a.t.Fatalf("%s: nothing like %s in:\n%s", a.what, pattern, a.body)
	}
	return html.UnescapeString(m[1])
}
