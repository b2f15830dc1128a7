package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/atoll-social/atoll/internal/httpserver"
)

// stall makes a request stop in the middle of its last file until go on is
// called; there is closed when it has come so far.
func stall(t *testing.T, r *http.Request) (there <-chan struct{}, goOn func()) {
	t.Helper()
	body := ok(io.ReadAll(r.Body))(t)
	reached, released := make(chan struct{}), make(chan struct{})
	half := len(body) / 2
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:half]), pause{reached, released}, bytes.NewReader(body[half:])))
	return reached, func() { close(released) }
}

type pause struct{ reached, released chan struct{} }

// Read waits, and gives nothing.
func (p pause) Read([]byte) (int, error) {
	close(p.reached)
	<-p.released
	return 0, io.EOF
}

// Pictures come in within a bound for each member and for all. Whoever is over it
// keeps what they typed, and posts without pictures go on.
func TestPicturesBeyondTheBound(t *testing.T) {
	t.Parallel()
	file := pngFile(t, 400, 300)
	for len(file) < 40<<10 {
		file = append(file, noise(t, 100)...)
	}
	intake := httpserver.NewIntake(int64(2*len(file)), int64(len(file)))
	s := newSite(t, func(c *Config) { c.Intake = intake })
	slow, b := s.member(t, alice), s.member(t, alice)
	form := with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "title", "Low water", "content", "At six")
	picture := map[string][][]byte{"pictures": {file}}
	r := slow.filesForm("/posts", picture, with(form, "key", "slow")...)
	there, goOn := stall(t, r)
	ended := make(chan *answer)
	go func() { ended <- slow.send(r) }()
	<-there

	a := b.postFiles("/posts", picture, with(form, "key", "second")...).
		is(503, "Too many pictures are coming in", "choose the pictures again", `value="Low water"`, "At six", `name="key" value="second"`)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.postFiles("/account/profile", map[string][][]byte{"avatar": {file}}, "acting", alice.DID, "display_name", "Alice A").
		is(503, "Too many pictures are coming in", `value="Alice A"`)
	b.postFiles("/posts", nil, with(form, "key", "text only")...).is(303)
	other := s.member(t, bob)
	if a := other.postFiles("/posts", picture, with(form, "acting", bob.DID, "key", "bob")...); a.status == 503 {
		t.Errorf("alice keeps bob out: %s", a.body)
	}
	goOn()
	if a := <-ended; a.status == 503 {
		t.Errorf("the slow one: %d %s", a.status, a.body)
	}
	if a := b.postFiles("/posts", picture, with(form, "key", "second")...); a.status == 503 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// A form holds so much text and no more, in however many fields it comes, and
// files of strangers are not kept at all.
func TestFormsWithFilesHoldLittleText(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.Intake = httpserver.NewIntake(1, 1) })
	long := string(bytes.Repeat([]byte("x"), postLimit/2))
	s.member(t, alice).postFiles("/posts", nil, "acting", alice.DID, "content", long, "title", long, "link", long).is(413)
	var many []string
	for n := range 5_000 {
		many = append(many, fmt.Sprint("field-", n), "")
	}
	s.member(t, alice).postFiles("/posts", nil, append(many, "acting", alice.DID)...).is(413)
	files := map[string][][]byte{}
	for n := range 1_000 {
		files[fmt.Sprint("file-", n)] = [][]byte{{'x'}} // of fields that there are none of
	}
	s.member(t, alice).postFiles("/posts", files, "acting", alice.DID, "title", "Low water").is(400, "Low water").lacks("Too many pictures")
	s.browser(t).postFiles("/posts", map[string][][]byte{"pictures": {pngFile(t, 40, 30)}}, "acting", alice.DID, "title", "Low water").
		is(401, "Low water")
}
