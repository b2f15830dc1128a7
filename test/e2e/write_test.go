package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// client is a signed-in member who calls the API.
type client struct {
	*browser
	member network.Account
}

func (i *instance) client(server int) client {
	i.t.Helper()
	c := client{i.browser(), i.network.NewAccount(i.t, server)}
	c.signIn(c.member)
	return c
}

// call calls a procedure that must succeed.
func (c client) call(method, body string) map[string]any {
	c.t.Helper()
	a := c.send(method, body, "application/json")
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		c.t.Fatalf("%s: %d %s", method, a.status, a.body)
	}
	return out
}

func (c client) send(method, body, kind string) answer {
	c.t.Helper()
	return c.do(http.MethodPost, "/xrpc/"+method, strings.NewReader(body), map[string]string{
		"Origin": c.inst.origin(), "Sec-Fetch-Site": "same-origin", "Content-Type": kind, "Atoll-Acting-DID": c.member.DID})
}

// records counts what is in the member's own repository.
func (c client) records(collection string) (n int) {
	c.t.Helper()
	session, err := c.inst.network.SignInWithPassword(c.t.Context(), c.member)
	if err != nil {
		c.t.Fatal(err)
	}
	var out struct{ Records []any }
	params := url.Values{"repo": {c.member.DID}, "collection": {collection}}
	if err := session.Query(c.t.Context(), "com.atproto.repo.listRecords", params, &out); err != nil {
		c.t.Fatal(err)
	}
	return len(out.Records)
}

// stats are the counts of a post on Discover.
func (c client) stats(uri any) string {
	c.t.Helper()
	a := c.get("/xrpc/social.coves.feed.getDiscover?sort=new&limit=50")
	var out struct {
		Feed []struct {
			Post struct {
				URI   string
				Stats json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		c.t.Fatalf("getDiscover: %d %s", a.status, a.body)
	}
	for _, item := range out.Feed {
		if item.Post.URI == uri {
			return string(item.Post.Stats)
		}
	}
	return ""
}

// noise is a picture that no compression makes small.
func noise(t *testing.T) string {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 900, 600))
	for y := range 600 {
		for x := range 900 {
			m.Set(x, y, color.NRGBA{uint8(rand.Uint32()), uint8(rand.Uint32()), uint8(rand.Uint32()), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	if b.Len() < 3<<19 {
		t.Fatalf("a picture of %d bytes is too small for this test", b.Len())
	}
	return b.String()
}

// TestMembersOfTwoServersTalk: a post with a picture by a member of one server,
// a comment and votes by a member of the other, each in its author's own
// repository and counted at once and once, when the copies come by the stream.
func TestMembersOfTwoServersTalk(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	author, reader := inst.client(0), inst.client(1)
	title := "with a picture " + network.Name("x")
	up := author.send("social.coves.media.uploadImage", noise(t), "image/png")
	var picture struct{ Blob, AspectRatio json.RawMessage }
	if err := json.Unmarshal([]byte(up.body), &picture); err != nil || up.status != http.StatusOK {
		t.Fatalf("upload: %d %s", up.status, up.body)
	}
	post := author.call("social.coves.community.post.create", fmt.Sprintf(
		`{"community":%q,"title":%q,"embed":{"$type":"social.coves.embed.images","images":[{"image":%s,"alt":"noise","aspectRatio":%s}]}}`,
		commons.DID, title, picture.Blob, picture.AspectRatio))
	ref := fmt.Sprintf(`{"uri":%q,"cid":%q}`, post["uri"], post["cid"])
	comment := reader.call("social.coves.community.comment.create", `{"reply":{"root":`+ref+`,"parent":`+ref+`},"content":"nice"}`)
	for _, direction := range []string{"up", "up", "down", "up"} {
		reader.call("social.coves.feed.vote.create", `{"subject":`+ref+`,"direction":"`+direction+`"}`)
	}
	profile := reader.call("social.coves.actor.updateProfile", `{"displayName":"Reader","bio":"reads"}`)
	for collection, want := range map[string]int{"social.coves.feed.vote": 1, "social.coves.community.comment": 1, "social.coves.actor.profile": 1} {
		if n := reader.records(collection); n != want {
			t.Errorf("%d records in %s, want %d", n, collection, want)
		}
	}
	if profile["uri"] != "at://"+reader.member.DID+"/social.coves.actor.profile/self" {
		t.Errorf("profile at %v", profile["uri"])
	}
	stats := func() string { return author.stats(post["uri"]) }
	if got, want := stats(), `{"upvotes":1,"downvotes":0,"score":1,"commentCount":1}`; got != want {
		t.Errorf("at once: %s, want %s", got, want)
	}
	// When a later record has come by the stream, so have the copies of these.
	late, err := inst.network.SignInWithPassword(t.Context(), reader.member)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(fmt.Sprint(comment["uri"]), "/")
	if err := late.DeleteRecord(t.Context(), "social.coves.community.comment", parts[len(parts)-1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the comment goes", func() bool {
		return stats() == `{"upvotes":1,"downvotes":0,"score":1,"commentCount":0}`
	})
	if got := author.send("social.coves.community.post.update", fmt.Sprintf(`{"uri":%q,"title":"x","swapRecord":%q}`, post["uri"], post["cid"]), "application/json"); got.status != http.StatusOK {
		t.Errorf("edit: %d %s", got.status, got.body)
	}
	if got := reader.send("social.coves.community.post.delete", fmt.Sprintf(`{"uri":%q}`, post["uri"]), "application/json"); got.status != http.StatusForbidden || !strings.Contains(got.body, "NotAuthorized") {
		t.Errorf("somebody else deletes: %d %s", got.status, got.body)
	}
	author.call("social.coves.community.post.delete", fmt.Sprintf(`{"uri":%q}`, post["uri"]))
	if onPage, uris := discover(t, author.browser, title); onPage+len(uris) != 0 || author.records(postCollection) != 0 {
		t.Errorf("deleted, and on the page %d times, in the API %v", onPage, uris)
	}
}
