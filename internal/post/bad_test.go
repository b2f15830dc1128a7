package post

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// village is an index in which things have been said before.
type village struct {
	*Service
	desk  *desk
	index *index.Index
	db    *store.DB
	n     int
}

func newVillage(t *testing.T) *village {
	t.Helper()
	v := &village{desk: newDesk(), db: storetest.New(t, store.SQLite)}
	v.Service, v.index = newService(t, v.db, v.desk, people{})
	return v
}

// apply puts something that somebody did into the index. Keys are TIDs of a
// number.
func (v *village) apply(t *testing.T, did syntax.DID, op index.Op) {
	t.Helper()
	v.n++
	commit, drops := v.index.Prepare(did, syntax.NewTID(1_700_000_000_000_000+int64(v.n), 0), []index.Op{op})
	if len(drops) > 0 {
		t.Fatal(drops)
	}
	err := v.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := v.index.Apply(t.Context(), tx, []index.Commit{commit})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func key(n int) syntax.RecordKey {
	return syntax.RecordKey(syntax.NewTID(1_600_000_000_000_000+int64(n), 0))
}

// said has somebody write a record, and returns what names it.
func (v *village) said(t *testing.T, did syntax.DID, collection syntax.NSID, n int, record map[string]any) Ref {
	t.Helper()
	record["$type"], record["createdAt"] = string(collection), "2024-01-01T00:00:00Z"
	cid := must(agent.RecordCID(record))(t)
	v.apply(t, did, index.Op{Action: index.Create, Collection: collection, RKey: key(n), CID: cid, Record: record})
	return Ref{URI: recordAt(did, collection, key(n)).String(), CID: cid.String()}
}

func (v *village) post(t *testing.T, did syntax.DID, n int) Ref {
	t.Helper()
	return v.said(t, did, index.PostCollection, n, map[string]any{"community": string(commons), "title": fmt.Sprint(n)})
}

func (v *village) comment(t *testing.T, did syntax.DID, n int, root, parent Ref) Ref {
	t.Helper()
	return v.said(t, did, index.CommentCollection, n, map[string]any{"content": "c", "reply": map[string]any{
		"root": strong(syntax.ATURI(root.URI), root.CID), "parent": strong(syntax.ATURI(parent.URI), parent.CID)}})
}

func (v *village) gone(t *testing.T, ref Ref) {
	t.Helper()
	uri := syntax.ATURI(ref.URI)
	v.apply(t, syntax.DID(uri.Authority().String()), index.Op{Action: index.Delete, Collection: uri.Collection(), RKey: uri.RecordKey()})
}

// ban shuts somebody out of commons.
func (v *village) ban(t *testing.T, did syntax.DID, n int) {
	t.Helper()
	v.said(t, commons, index.BanCollection, n, map[string]any{"community": string(commons), "subject": string(did), "banType": "moderator", "reason": "r"})
}

const someCID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"

// TestBadEmbeds holds that nothing is written whose parts lead out of the web,
// break a limit, or say something that is not so.
func TestBadEmbeds(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	quoted, removed := v.post(t, bob, 1), v.post(t, bob, 2)
	v.gone(t, removed)
	answer := v.comment(t, bob, 3, quoted, quoted)
	quote := func(uri, cid string) string {
		return fmt.Sprintf(`{"$type":"social.coves.embed.post","post":{"uri":%q,"cid":%q}}`, uri, cid)
	}
	external := func(uri, more string) string {
		return fmt.Sprintf(`{"$type":"social.coves.embed.external","external":{"uri":%q%s}}`, uri, more)
	}
	images := func(n int, alt string) string {
		one := `{"alt":"` + alt + `","image":{"$type":"blob","ref":{"$link":"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},"mimeType":"image/png","size":1}}`
		return `{"$type":"social.coves.embed.images","images":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	facet := func(start, end int, feature string) string {
		return fmt.Sprintf(`{"index":{"byteStart":%d,"byteEnd":%d},"features":[{"$type":"social.coves.richtext.facet#%s}]}`, start, end, feature)
	}
	link := `link","uri":"https://example.com"`
	tests := []struct{ name, embed, facets, code string }{
		{"something else", `{"$type":"org.example.map"}`, "", "InvalidRequest"},
		{"nothing of a type", `{"external":{"uri":"https://example.com"}}`, "", "InvalidRequest"},
		{"a list", `[]`, "", "InvalidRequest"},
		{"nine pictures", images(9, "a"), "", "InvalidRequest"},
		{"no picture", images(0, ""), "", "InvalidRequest"},
		{"a description of 1,001 bytes", images(1, strings.Repeat("x", 1001)), "", "ContentTooLong"},
		{"a picture of 11 MB", strings.Replace(images(1, "a"), `"size":1`, `"size":11000000`, 1), "", "InvalidRequest"},
		{"a picture that is a page", strings.Replace(images(1, "a"), "image/png", "text/html", 1), "", "InvalidRequest"},
		{"a picture without a size", strings.Replace(images(1, "a"), `,"size":1`, "", 1), "", "InvalidRequest"},
		{"a picture by its address", `{"$type":"social.coves.embed.images","images":[{"alt":"a","image":"https://example.com/a.png"}]}`, "", "InvalidRequest"},
		{"a script", external("javascript:alert(1)", ""), "", "InvalidRequest"},
		{"a host in disguise", external("https://bank.example@evil.example/", ""), "", "InvalidRequest"},
		{"a script as a source", external("https://example.com", `,"sources":[{"uri":"javascript:alert(1)"}]`), "", "InvalidRequest"},
		{"a link without address", `{"$type":"social.coves.embed.external","external":{}}`, "", "InvalidRequest"},
		{"a title of 501 bytes", external("https://example.com", `,"title":"`+strings.Repeat("x", 501)+`"`), "", "InvalidRequest"},
		{"a quote of what is not known", quote("at://"+string(bob)+"/social.coves.community.postv2/"+string(key(9)), someCID), "", "PostNotFound"},
		{"a quote of what is deleted", quote(removed.URI, removed.CID), "", "PostNotFound"},
		{"a quote of an older version", quote(quoted.URI, someCID), "", "InvalidRequest"},
		{"a quote of a comment", quote(answer.URI, answer.CID), "", "InvalidRequest"},
		{"a quote of a page", quote("https://example.com", someCID), "", "InvalidRequest"},
		{"a quote in the older form of nothing", quote("at://"+string(commons)+"/social.coves.community.post/"+string(key(9)), someCID), "", "PostNotFound"},
		{"a quote of Bluesky that is not there", quote("at://"+string(bob)+"/app.bsky.feed.post/"+string(key(9)), someCID), "", "PostNotFound"},
		{"a facet with a script", "", facet(0, 1, `link","uri":"javascript:alert(1)"`), "InvalidRequest"},
		{"a mention of nobody", "", facet(0, 1, `mention","did":"alice.example.com"`), "InvalidRequest"},
		{"two links on one word", "", facet(0, 4, link) + "," + facet(2, 6, link), "InvalidRequest"},
		{"a link and a mention on one word", "", facet(2, 4, `mention","did":"`+string(bob)+`"`) + "," + facet(0, 6, link), "InvalidRequest"},
		{"two links in one facet", "", strings.Replace(facet(0, 4, link), "]}", `,{"$type":"social.coves.richtext.facet#`+link+`}]}`, 1), "InvalidRequest"},
		{"paragraphs that cross", "", facet(0, 4, `blockquote"`) + "," + facet(2, 6, `heading"`), "InvalidRequest"},
	}
	for _, tt := range tests {
		_, err := v.Create(t.Context(), actor, CreateInput{Community: string(commons), Title: "t", Content: "some text",
			Embed: json.RawMessage(tt.embed), Facets: json.RawMessage("[" + tt.facets + "]")})
		refused(t, tt.name, err, fault.From(err).Kind, tt.code)
		if kind := fault.From(err).Kind; kind != fault.Invalid && kind != fault.NotFound {
			t.Errorf("%s: %s", tt.name, kind)
		}
	}
	v.desk.untouched(t)
	good := facet(0, 4, link) + "," + facet(4, 9, link) + "," + facet(0, 9, `blockquote"`) + "," + facet(0, 4, `heading"`) + "," + facet(2, 8, `bold"`)
	if _, err := v.Create(t.Context(), actor, CreateInput{Community: string(commons), Content: "some text", Embed: json.RawMessage(quote(quoted.URI, quoted.CID)),
		Facets: json.RawMessage("[" + good + "]")}); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// TestQuotesInTheOlderForm holds that a post is quoted by its own URI.
func TestQuotesInTheOlderForm(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	quoted := v.accepted(t, bob, 1)
	_, err := v.Create(t.Context(), actor, CreateInput{Community: string(commons), Embed: json.RawMessage(
		`{"$type":"social.coves.embed.post","post":{"uri":"` + legacy(1) + `","cid":"` + quoted.CID + `"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	embed, _ := v.desk.done[0].Record["embed"].(map[string]any)
	if got, _ := embed["post"].(map[string]any); got["uri"] != quoted.URI {
		t.Errorf("quoted as %v, want %s", got, quoted.URI)
	}
}

// accepted is a post that commons admitted.
func (v *village) accepted(t *testing.T, did syntax.DID, n int) Ref {
	t.Helper()
	ref := v.post(t, did, n)
	record := map[string]any{"$type": string(index.AcceptanceCollection), "createdAt": "2024-01-01T00:00:00Z", "subject": strong(syntax.ATURI(ref.URI), ref.CID)}
	sum := sha256.Sum256([]byte(ref.URI))
	admission := syntax.RecordKey(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])))
	v.apply(t, commons, index.Op{Action: index.Create, Collection: index.AcceptanceCollection, RKey: admission, CID: someCID, Record: record})
	return ref
}

// legacy is the older form of a post in commons.
func legacy(n int) string {
	return recordAt(commons, index.LegacyPostCollection, key(n)).String()
}

// TestBadComments holds C7's references: what is answered is there, and belongs
// together.
func TestBadComments(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	root, other, removed := v.accepted(t, bob, 1), v.post(t, bob, 2), v.post(t, bob, 3)
	answer, elsewhere, deleted := v.comment(t, bob, 4, root, root), v.comment(t, bob, 5, other, other), v.comment(t, bob, 6, root, root)
	v.gone(t, removed)
	v.gone(t, deleted)
	unknown := func(collection syntax.NSID) Ref { return Ref{recordAt(bob, collection, key(9)).String(), someCID} }
	tests := []struct {
		name         string
		root, parent Ref
		content      string
		code         string
	}{
		{"nothing at all", Ref{}, Ref{}, "c", "InvalidReply"},
		{"no text", root, root, " \n", "ContentEmpty"},
		{"3,001 characters", root, root, strings.Repeat("é", 3001), "ContentTooLong"},
		{"30,001 bytes", root, root, strings.Repeat("x", 30001), "ContentTooLong"},
		{"U+0000", root, root, "a\x00b", "InvalidRequest"},
		{"a root that is a page", Ref{"https://example.com", someCID}, root, "c", "InvalidReply"},
		{"a root without CID", Ref{root.URI, ""}, root, "c", "InvalidReply"},
		{"a root with the CID of a picture", Ref{root.URI, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"}, root, "c", "InvalidReply"},
		{"a root that is a comment", answer, answer, "c", "InvalidReply"},
		{"a root that is a vote", unknown(index.VoteCollection), root, "c", "InvalidReply"},
		{"a root that is not known", unknown(index.PostCollection), root, "c", "RootNotFound"},
		{"a root that is deleted", removed, removed, "c", "RootNotFound"},
		{"a root in the older form of nothing", Ref{legacy(9), someCID}, root, "c", "RootNotFound"},
		{"a parent that is not known", root, unknown(index.CommentCollection), "c", "ParentNotFound"},
		{"a parent that is deleted", root, deleted, "c", "ParentNotFound"},
		{"a parent below another post", root, elsewhere, "c", "InvalidReply"},
		{"a parent that is another post", root, other, "c", "InvalidReply"},
		{"a parent without key", root, Ref{"at://" + string(bob), someCID}, "c", "InvalidReply"},
		{"a root of an account that there is not", Ref{"at://nobody.example.com/social.coves.community.postv2/" + string(key(1)), someCID}, root, "c", "ProfileNotFound"},
	}
	for _, tt := range tests {
		_, err := v.CreateComment(t.Context(), actor, CommentInput{Root: tt.root, Parent: tt.parent, Content: tt.content})
		kind := fault.Invalid
		if strings.HasSuffix(tt.code, "NotFound") {
			kind = fault.NotFound
		}
		refused(t, tt.name, err, kind, tt.code)
	}
	_, err := v.CreateComment(t.Context(), actor, CommentInput{Root: root, Parent: root, Content: "c",
		Embed: json.RawMessage(`{"$type":"social.coves.embed.external","external":{"uri":"https://example.com"}}`)})
	refused(t, "a link as an embed", err, fault.Invalid, "InvalidRequest")
	v.desk.untouched(t)
	_, err = v.CreateComment(t.Context(), actor, CommentInput{Root: Ref{legacy(1), root.CID}, Parent: Ref{legacy(1), root.CID}, Content: "c"})
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := v.desk.done[0].Record["reply"].(map[string]any)
	if at, _ := reply["root"].(map[string]any); at["uri"] != root.URI {
		t.Errorf("written with %v, want the post's own URI %s", reply, root.URI)
	}
}

// TestShutOut holds that whom a community has banned takes no part in it, and
// that blocks keep people apart; taking a vote back is still possible.
func TestShutOut(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	root := v.accepted(t, bob, 1)
	voted, err := v.Vote(t.Context(), actor, VoteInput{Subject: root, Up: true})
	if err != nil || voted.URI == "" {
		t.Fatal(err)
	}
	part := func() map[string]error {
		_, post := v.Create(t.Context(), actor, CreateInput{Community: string(commons), Title: "t"})
		_, comment := v.CreateComment(t.Context(), actor, CommentInput{Root: root, Parent: root, Content: "c"})
		_, vote := v.Vote(t.Context(), actor, VoteInput{Subject: root})
		return map[string]error{"post": post, "comment": comment, "vote": vote}
	}
	v.said(t, bob, index.PersonBlockCollection, 20, map[string]any{"subject": string(alice)})
	before := len(v.desk.done)
	for what, err := range part() {
		if what != "post" { // that goes to the community
			refused(t, what, err, fault.Forbidden, "Blocked")
		}
	}
	v.ban(t, alice, 21)
	for what, err := range part() {
		refused(t, what, err, fault.Forbidden, "Banned")
	}
	if n := len(v.desk.done) - before; n != 1 || len(v.desk.removed) != 0 {
		t.Errorf("%d records written, %v removed", n, v.desk.removed)
	}
	if err := v.Withdraw(t.Context(), actor, root.URI); err != nil || len(v.desk.removed) != 1 {
		t.Errorf("taking the vote back: %v, %v", err, v.desk.removed)
	}
}
