package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/test/network"
)

// house is an instance that people live in, with something on every page.
type house struct {
	inst     *instance
	browser  *browser // in which the member is signed in
	newcomer *browser // in which somebody is who has done nothing yet

	member, author, other, commons network.Account

	place                             string // the member's own community, where a post waits
	thread, deep                      string // a long text with many answers; a comment deep below it
	warned, quote, link, bare, markup string // other posts of the author
	waits, removed                    string // what the commons have not admitted, and what they removed
	mine, comment                     string // what the member wrote
}

// furnish fills an instance.
func (i *instance) furnish() *house {
	i.t.Helper()
	n := i.network
	h := &house{inst: i, browser: i.browser(), newcomer: i.browser(), commons: community(i.t, n),
		member: n.NewAccount(i.t, 1), author: n.NewAccount(i.t, 0), other: n.NewAccount(i.t, 0)}
	h.browser.signIn(h.member)
	h.newcomer.signIn(n.NewAccount(i.t, 0))
	i.program().signIn(h.browser, h.member)
	h.posts()
	h.founds()
	h.lives()
	return h
}

// pagesOfMembers are what the member looks at.
func (h *house) pagesOfMembers() []string {
	author, member := "/u/"+h.author.Handle, "/u/"+h.member.Handle
	return []string{
		"/", "/discover", "/discover?sort=top&t=year", "/all", "/communities", "/communities?q=nothing+of+that+name", "/communities/new",
		"/c/" + h.commons.Handle, h.place, h.place + "/edit", h.place + "/review",
		h.thread, h.thread + "?sort=new", h.deep, h.warned, h.quote, h.link, h.bare, h.markup, h.waits, h.removed,
		h.mine, h.mine + "/edit", h.mine + "/delete", h.comment, h.comment + "/edit", h.comment + "/delete",
		author, author + "/comments", member, member + "/comments", "/u/" + h.other.Handle,
		"/account", "/account/profile", "/account/delegation", "/account/blocks", "/account/blocks?of=communities", "/posts/new",
		"/nowhere", "/discover?sort=odd", "/discover?cursor=odd", h.thread + "/edit", h.thread + "x", "/c/nobody.invalid", "/u/nobody.pds1.atoll-tests.net", "/discover?notice=declined",
	}
}

// posts are what the author writes with another client, and what the commons say
// about each.
func (h *house) posts() {
	t, n := h.inst.t, h.inst.network
	began := time.Now().Add(-48 * time.Hour)
	rkey := func(i int) string { return syntax.NewTIDFromTime(began.Add(time.Duration(i)*time.Minute), 0).String() }
	post := func(i int, record map[string]any) write {
		record["community"], record["createdAt"] = h.commons.DID, began.Add(time.Duration(i)*time.Minute).UTC().Format(time.RFC3339)
		return write{postCollection, rkey(i), record}
	}
	words := "What the tide brings it takes along again, and nobody has been asked. "
	written := writeAll(t, n, h.author, []write{
		post(0, map[string]any{"title": strings.Repeat("a title with many words ", 10) + strings.Repeat("unbroken", 6), "content": strings.Repeat(words, 40) + strings.Repeat("unbroken", 35)}),
		post(1, map[string]any{"title": "A heron, without feathers", "content": words, "labels": map[string]any{"$type": "com.atproto.label.defs#selfLabels", "values": []any{map[string]any{"val": "nsfw"}}}}),
		post(2, map[string]any{"title": "From elsewhere", "embed": map[string]any{"$type": "social.coves.embed.external", "external": map[string]any{
			"uri": "https://example.com/a/very/long/address/" + strings.Repeat("of-a-page", 12), "title": "How tides work", "description": words}}}),
		post(3, map[string]any{"content": "سؤال عن القارب and then some"}),
	})
	own := writeAll(t, n, h.member, []write{
		post(4, map[string]any{"title": "Too early", "content": words}), post(5, map[string]any{"title": "Too loud", "content": words}),
	})
	quote := writeAll(t, n, h.author, []write{post(6, map[string]any{"title": "As I said", "content": "Twice.", "embed": map[string]any{
		"$type": "social.coves.embed.post", "post": map[string]any{"uri": written[2].URI, "cid": written[2].CID}}})})[0]
	admit(t, n, h.commons, append(written, quote)...)
	removal := acceptance(own[1])
	removal.collection, removal.record["code"], removal.record["reason"] = "social.coves.community.removal", "off-topic", "Somebody sleeps here."
	writeAll(t, n, h.commons, []write{removal})
	h.thread, h.warned, h.link, h.bare, h.waits, h.removed, h.quote = pageOf(written[0]), pageOf(written[1]), pageOf(written[2]), pageOf(written[3]), pageOf(own[0]), pageOf(own[1]), pageOf(quote)
	h.answers(written[0])
	h.arrived(h.thread, "44 comments")
	h.arrived(h.removed, "Removed by the community")
	h.arrived("/c/"+h.commons.Handle, "As I said")
}

// answers are more to the post than a page holds, a chain deeper than a page
// shows, and one that was deleted.
func (h *house) answers(root network.Record) {
	t, n := h.inst.t, h.inst.network
	say := func(parent network.Record, text string, at int) write {
		when := time.Now().Add(-24*time.Hour + time.Duration(at)*time.Minute)
		return write{commentCollection, syntax.NewTIDFromTime(when, 0).String(), map[string]any{
			"reply":   map[string]any{"root": map[string]any{"uri": root.URI, "cid": root.CID}, "parent": map[string]any{"uri": parent.URI, "cid": parent.CID}},
			"content": text, "createdAt": when.UTC().Format(time.RFC3339),
		}}
	}
	parent := root
	for i := range 12 {
		parent = writeAll(t, n, h.author, []write{say(parent, "And further down.", i)})[0]
	}
	h.deep = h.thread + "/c/" + strings.Replace(strings.TrimPrefix(parent.URI, "at://"), "/"+commentCollection, "", 1)
	var wide []write
	for i := range 33 {
		wide = append(wide, say(root, strings.Repeat("So it is. ", 1+i%7), 60+i))
	}
	said := writeAll(t, n, h.author, wide)
	client, err := n.SignInWithPassword(t.Context(), h.author)
	if err == nil {
		err = client.DeleteRecord(t.Context(), commentCollection, wide[0].rkey)
	}
	if err != nil {
		t.Fatal(err)
	}
	writeAll(t, n, h.author, []write{say(said[0], "Why did you take that back?", 200)})
}

// founds makes the member's community, in which a post of the author waits.
func (h *house) founds() {
	b, name := h.browser, network.Name("cove")
	form := formOf(h.inst.t, b.get("/communities/new"), "/communities", nil)
	form.Set("name", name)
	form.Set("display_name", "The Cove")
	form.Set("description", "A **sheltered** place, for what the sea brings.")
	form.Set("visibility", "public")
	for _, box := range []string{"warning-nsfw", "warning-violence", "warning-spoilers"} {
		form.Del(box)
	}
	h.place = h.sent("/communities", form)
	h.sent(h.place+"/policy", formWith(formOf(h.inst.t, b.get(h.place+"/review"), h.place+"/policy", nil), "admission", "approval"))
	var found struct{ DID string }
	a := b.get("/xrpc/social.coves.community.get?community=" + strings.TrimPrefix(h.place, "/c/"))
	if err := json.Unmarshal([]byte(a.body), &found); err != nil || found.DID == "" {
		h.inst.t.Fatalf("%s: %d %v\n%s", a.url, a.status, err, a.body)
	}
	writeDirectly(h.inst.t, h.inst.network, h.author, network.Account{DID: found.DID}, "May I come in?")
	h.arrived(h.place+"/review", "May I come in?")
}

// lives is what the member does: subscribes, posts, answers, votes and blocks.
func (h *house) lives() {
	t, b, commons := h.inst.t, h.browser, "/c/"+h.commons.Handle
	h.sent("/subscriptions", formWith(formOf(t, b.get(commons), "/subscriptions", nil), "level", "4"))
	form := formOf(t, b.get("/posts/new"), "/posts", nil)
	form.Set("community", strings.TrimPrefix(h.place, "/c/"))
	form.Set("title", "All there is")
	form.Set("content", "**Bold**, *italic*, ~~gone~~, `code` and ||hidden||.\n\n> quoted\n\n# A heading\n\n```\nlong code "+strings.Repeat("and longer ", 20)+"\n```\n\n[a link](https://example.com/)")
	h.markup = h.sent("/posts", form)
	form.Set("key", form.Get("key")+"2")
	form.Set("title", "Mine")
	h.mine = h.sent("/posts", form)
	answer := formOf(t, b.get(h.thread), "/comments", nil)
	answer.Set("content", "I have been here.")
	h.comment, _, _ = strings.Cut(h.sent("/comments", answer), "#")
	h.sent("/votes", formWith(formOf(t, b.get(h.link), "/votes", nil), "direction", "up"))
	h.sent("/blocks", formWith(formOf(t, b.get("/u/"+h.other.Handle), "/blocks", nil), "block", "yes"))
	elsewhere := community(t, h.inst.network)
	h.arrived("/c/"+elsewhere.Handle, "Block")
	h.sent("/blocks", formWith(formOf(t, b.get("/c/"+elsewhere.Handle), "/blocks", nil), "block", "yes"))
}

// sent sends a form as the member and returns where it leads.
func (h *house) sent(path string, form url.Values) (to string) {
	h.inst.t.Helper()
	a := h.browser.post(path, form)
	if a.status != http.StatusSeeOther {
		h.inst.t.Fatalf("POST %s: %d\n%s", path, a.status, a.body)
	}
	return a.location()
}

// arrived waits until a page shows what was written elsewhere.
func (h *house) arrived(path, text string) {
	h.inst.t.Helper()
	eventually(h.inst.t, text+" at "+path, func() bool { return strings.Contains(h.browser.get(path).body, text) })
}

// pageOf is the page of a post.
func pageOf(post network.Record) string {
	return "/p/" + strings.Replace(strings.TrimPrefix(post.URI, "at://"), "/"+postCollection, "", 1)
}

func formWith(form url.Values, name, value string) url.Values {
	form.Set(name, value)
	return form
}
