package web

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
)

// Facets that the form cannot show stay as long as the text does.
func TestEditingKeepsWhatTheFormCannotShow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	page := b.writes(alice, "Low water")
	facets := []any{map[string]any{"index": map[string]any{"byteStart": int64(0), "byteEnd": int64(4)},
		"features": []any{map[string]any{"$type": "org.example.facet#colour", "colour": "blue"}}}}
	s.rewrite(t, func(record map[string]any) { record["facets"], record["content"] = facets, "Blue water." })

	form := b.get(page+"/edit").is(200, "formatting that the form cannot show").fields(page + "/edit")
	b.post(page+"/edit", with(form, "title", "High water")...).leads(page)
	is := s.pds.in(alice, index.PostCollection)[0]
	if diff := cmp.Diff(facets, is["facets"]); diff != "" || is["title"] != "High water" || is["content"] != "Blue water." {
		t.Errorf("after another title the record is %v (facets -want +got):\n%s", is, diff)
	}
	// The form of before was for another version.
	b.post(page+"/edit", with(form, "content", "Late.")...).is(409, "Late.", "Nothing has changed.")
	form = b.get(page + "/edit").fields(page + "/edit")
	b.post(page+"/edit", with(form, "content", "**Green** water.")...).leads(page)
	b.get(page).is(200, "<strong>Green</strong> water.", "<span>edited</span>", "High water")
	for name, change := range map[string][]string{
		"too long": {"content", strings.Repeat("x", 10_001)}, "nothing": {"content", "", "title", ""}, "two lines": {"title", "a\nb"},
	} {
		form = b.get(page + "/edit").fields(page + "/edit")
		if a := b.post(page+"/edit", with(form, change...)...); a.status != 400 || !strings.Contains(a.body, "Nothing has changed.") {
			t.Errorf("%s: %d\n%s", name, a.status, a.body)
		}
	}
	b.get(page+"/delete").is(200, "Delete this post?", "High water", "disappears everywhere")
	b.post(page+"/delete", "acting", alice.DID).leads("/u/" + alice.DID + "?notice=deleted")
	b.get("/u/"+alice.DID+"?notice=deleted").is(200, deletedNotice, `role="status"`)
	b.get(page).is(404)
	b.get("/discover").is(200).lacks("High water")
}

// rewrite changes alice's only post as another client would.
func (s *site) rewrite(t *testing.T, change func(map[string]any)) {
	t.Helper()
	s.pds.mu.Lock()
	for at, record := range s.pds.records {
		if at.Collection == index.PostCollection {
			change(record)
			defer s.apply(t, alice, at.Collection, at.RKey, record)
		}
	}
	s.pds.mu.Unlock()
}

// The preview shows the formatting and writes nothing.
func TestPreview(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	form := with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "title", "A <b>title</b>", "content", "**Bold** and <script>alert(1)</script>")
	b.post("/posts/preview", form...).is(200, "<strong>Bold</strong>", "This is how it will look", "A &lt;b&gt;title", `value="`+commons.DID+`"`).lacks("<script>alert")
	if len(s.pds.written) > 0 {
		t.Errorf("the preview wrote %v", s.pds.written)
	}
}

// Pictures come with a post, checked; a wrong file leaves nothing behind.
func TestPostsWithPictures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	form := with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "title", "Two pictures", "alt", "A jetty\nA heron")
	to := b.postFiles("/posts", map[string][][]byte{"pictures": {pngFile(t, 40, 30), pngFile(t, 1600, 800)}}, form...).is(303).header.Get("Location")
	b.get(to).is(200, `alt="A jetty" width="40" height="30"`, `alt="A heron" width="800" height="400"`, "/img/content_preview/plain/"+alice.DID+"/", "/img/content_full/plain/")
	before := len(s.pds.written)
	for name, files := range map[string][][]byte{
		"no picture": {[]byte("GIF89a no")}, "markup": {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`)},
		"one of two": {pngFile(t, 2, 2), []byte("x")}, "nine": repeatFile(pngFile(t, 2, 2), 9),
	} {
		a := b.postFiles("/posts", map[string][][]byte{"pictures": files}, with(form, "key", name)...)
		if a.status != 400 {
			t.Errorf("%s: status %d\n%s", name, a.status, a.body)
		}
	}
	b.postFiles("/posts", map[string][][]byte{"pictures": repeatFile(pngFile(t, 2, 2), 9)}, with(form, "key", "nine")...).is(400, "at most 8 pictures")
	b.postFiles("/posts", map[string][][]byte{"pictures": {pngFile(t, 2, 2)}}, with(form, "key", "both", "link", "https://a.example/")...).is(400, "either a link or pictures", "link-wrong")
	b.post("/posts", with(form, "key", "odd link", "link", "javascript:alert(1)")...).is(400, "no web address", "link-wrong")
	b.post("/posts", with(form, "key", "link", "link", "https://a.example/x")...).is(303)
	if n := len(s.pds.written) - before; n != 1 {
		t.Errorf("%d records were written, want the one with the link", n)
	}
}

func repeatFile(file []byte, n int) (out [][]byte) {
	for range n {
		out = append(out, file)
	}
	return out
}

// The script is small, and makes no markup out of text.
func TestTheScriptIsSmall(t *testing.T) {
	t.Parallel()
	body := ok(os.ReadFile("static/atoll.js"))(t)
	if len(body) > 10<<10 {
		t.Errorf("the script has %d bytes, want at most 10 KB", len(body))
	}
	for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write", "new Function"} {
		if strings.Contains(string(body), word) {
			t.Errorf("the script uses %s", word)
		}
	}
}
