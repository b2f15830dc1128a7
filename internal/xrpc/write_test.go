package xrpc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/gif"
	"image/png"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// The procedures by which members write what they say.
const (
	postUpdateMethod    = "social.coves.community.post.update"
	postDeleteMethod    = "social.coves.community.post.delete"
	commentCreateMethod = "social.coves.community.comment.create"
	commentUpdateMethod = "social.coves.community.comment.update"
	commentDeleteMethod = "social.coves.community.comment.delete"
	voteCreateMethod    = "social.coves.feed.vote.create"
	voteDeleteMethod    = "social.coves.feed.vote.delete"
	profileMethod       = "social.coves.actor.updateProfile"
	uploadMethod        = string(uploadImageMethod)
)

func (d *desk) Upload(_ context.Context, actor agent.Actor, u agent.Upload) (atdata.Blob, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.actors = append(d.actors, actor); d.fail != nil {
		return atdata.Blob{}, d.fail
	}
	c, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(u.Body)
	return atdata.Blob{Ref: atdata.CIDLink(c), MimeType: u.MIME, Size: int64(len(u.Body))}, err
}

// said has somebody write a post or comment, and returns its reference as JSON.
func (a *api) said(did syntax.DID, collection syntax.NSID, n int, record map[string]any) (uri, ref string) {
	a.t.Helper()
	key := syntax.RecordKey(syntax.NewTID(1_700_000_000_000_000+int64(n), 0))
	record["createdAt"] = "2026-01-02T03:04:05Z"
	a.apply(did, collection, key, record)
	uri = fmt.Sprintf("at://%s/%s/%s", did, collection, key)
	return uri, fmt.Sprintf(`{"uri":%q,"cid":%q}`, uri, must(agent.RecordCID(record))(a.t))
}

func (a *api) postOf(did syntax.DID, n int) (uri, ref string) {
	return a.said(did, index.PostCollection, n, map[string]any{"community": string(commons), "title": "t"})
}

// drawing is a picture of 4×3 pixels.
func drawing(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 3))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestWriting holds what clients get back for what members write.
func TestWriting(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	_, root := a.postOf(bob, 1)
	call := func(method, body string, headers ...string) map[string]any {
		t.Helper()
		return a.fields(a.post(method, cookie, body, headers...))
	}
	key := []string{IdempotencyHeader, "k"}
	made := call("social.coves.community.post.create", `{"community":"commons.example.com","title":"t","tags":["a"]}`)
	edited := call(postUpdateMethod, fmt.Sprintf(`{"uri":%q,"content":"c","tags":null,"swapRecord":%q,"more":1}`, made["uri"], made["cid"]))
	record := a.record(made["uri"])
	if edited["uri"] != made["uri"] || edited["cid"] == made["cid"] || record["title"] != "t" || record["content"] != "c" || record["tags"] != nil {
		t.Errorf("edited %v to %v: %v", made, edited, record)
	}
	stale := a.post(postUpdateMethod, cookie, fmt.Sprintf(`{"uri":%q,"title":"x","swapRecord":%q}`, made["uri"], made["cid"]))
	if stale.status != 409 || stale.Error != "InvalidSwap" || a.record(made["uri"])["title"] != "t" {
		t.Errorf("a stale edit: %d %s", stale.status, stale.body)
	}
	reply := `"reply":{"root":` + root + `,"parent":` + root + `}`
	comment := call(commentCreateMethod, `{`+reply+`,"content":"c","langs":["en"]}`, key...)
	if again := call(commentCreateMethod, `{`+reply+`,"content":"c","langs":["en"]}`, key...); again["uri"] != comment["uri"] {
		t.Errorf("repeated: %v and %v", comment, again)
	}
	call(commentUpdateMethod, fmt.Sprintf(`{"uri":%q,"content":"d"}`, comment["uri"]))
	if record := a.record(comment["uri"]); record["content"] != "d" || fmt.Sprint(record["langs"]) != "[en]" || record["reply"] == nil {
		t.Errorf("comment: %v", record)
	}
	for i, step := range []struct {
		direction string
		there     bool
	}{{"up", true}, {"up", false}, {"down", true}, {"up", true}} {
		got := call(voteCreateMethod, `{"subject":`+root+`,"direction":"`+step.direction+`"}`)
		if (got["uri"] != "") != step.there || (got["cid"] != "") != step.there {
			t.Errorf("vote %d: %v", i, got)
		}
	}
	for method, body := range map[string]string{
		voteDeleteMethod: `{"subject":` + root + `}`, postDeleteMethod: fmt.Sprintf(`{"uri":%q}`, made["uri"]), commentDeleteMethod: fmt.Sprintf(`{"uri":%q}`, comment["uri"]),
	} {
		if got := a.post(method, cookie, body); got.body != "{}\n" {
			t.Errorf("%s: %d %s", method, got.status, got.body)
		}
	}
	if len(a.desk.records) != 0 {
		t.Errorf("left: %v", a.desk.records)
	}
}

// record is what the desk has at a URI.
func (a *api) record(uri any) map[string]any {
	a.t.Helper()
	for place, record := range a.desk.records {
		if place.URI().String() == uri {
			return record
		}
	}
	a.t.Fatalf("nothing at %v", uri)
	return nil
}

// TestPictures holds how pictures come in: as they are, or in base64.
func TestPictures(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	file := drawing(t)
	up := a.fields(a.post(uploadMethod, cookie, string(file), "Content-Type", "image/png"))
	blob, _ := up["blob"].(map[string]any)
	ratio, _ := up["aspectRatio"].(map[string]any)
	if blob["$type"] != "blob" || blob["mimeType"] != "image/png" || blob["ref"] == nil || blob["size"] != float64(len(file)) || ratio["width"] != 4.0 || ratio["height"] != 3.0 {
		t.Errorf("uploaded: %v", up)
	}
	text := base64.StdEncoding.EncodeToString(file)
	done := a.fields(a.post(profileMethod, cookie, `{"displayName":"Alice","avatarBlob":"`+text+`","avatarMimeType":"image/png"}`))
	a.fields(a.post(profileMethod, cookie, `{"bio":"b"}`))
	record := a.record(done["uri"])
	if record["displayName"] != "Alice" || record["bio"] != "b" || record["avatar"] == nil {
		t.Errorf("profile: %v", record)
	}
	var film bytes.Buffer
	if err := gif.Encode(&film, image.NewGray(image.Rect(0, 0, 4, 3)), nil); err != nil {
		t.Fatal(err)
	}
	wrote := len(a.desk.actors)
	padded := func(n int) string { return string(file) + strings.Repeat("x", n) }
	tests := []struct {
		name, method, body, kind string
		status                   int
		code                     string
	}{
		{"nothing", uploadMethod, "", "image/png", 400, "InvalidRequest"},
		{"a page", uploadMethod, "<html>", "image/png", 400, "InvalidRequest"},
		{"called a page", uploadMethod, string(file), "text/html", 400, "InvalidRequest"},
		{"called nothing", uploadMethod, string(file), "", 400, "InvalidRequest"},
		{"half", uploadMethod, string(file[:40]), "image/png", 400, "InvalidRequest"},
		{"with a film behind", uploadMethod, padded(100), "image/png", 400, "InvalidRequest"},
		{"13 MB", uploadMethod, padded(13_000_000), "image/png", 413, "RequestTooLarge"},
		{"an avatar that moves", profileMethod, `{"avatarBlob":"` + base64.StdEncoding.EncodeToString(film.Bytes()) + `"}`, "application/json", 400, "InvalidRequest"},
		{"an avatar that is a page", profileMethod, `{"avatarBlob":"PGh0bWw+"}`, "application/json", 400, "InvalidRequest"},
		{"an avatar that is called a page", profileMethod, `{"avatarBlob":"` + text + `","avatarMimeType":"text/html"}`, "application/json", 400, "InvalidRequest"},
		{"an avatar that is a number", profileMethod, `{"avatarBlob":7}`, "application/json", 400, "InvalidRequest"},
		{"an avatar of 3 MB", profileMethod, `{"avatarBlob":"` + strings.Repeat("A", 4_000_000) + `"}`, "application/json", 413, "RequestTooLarge"},
		{"9 MB", profileMethod, `{"bannerBlob":"` + strings.Repeat("A", 9_000_000) + `"}`, "application/json", 413, "RequestTooLarge"},
		{"a good avatar and a bad banner", profileMethod, `{"avatarBlob":"` + text + `","bannerBlob":"PGh0bWw+"}`, "application/json", 400, "InvalidRequest"},
		{"a name of 65", profileMethod, `{"displayName":"` + strings.Repeat("é", 65) + `"}`, "application/json", 400, "ContentTooLong"},
		{"a name of two lines", profileMethod, `{"displayName":"a\nb"}`, "application/json", 400, "InvalidRequest"},
		{"a text of 257", profileMethod, `{"bio":"` + strings.Repeat("é", 257) + `"}`, "application/json", 400, "ContentTooLong"},
		{"a name that is a list", profileMethod, `{"displayName":["a"]}`, "application/json", 400, "InvalidRequest"},
	}
	for _, tt := range tests {
		if got := a.post(tt.method, cookie, tt.body, "Content-Type", tt.kind); got.status != tt.status || got.Error != tt.code {
			t.Errorf("%s: %d %s (%s), want %d %s", tt.name, got.status, got.Error, got.Words, tt.status, tt.code)
		}
	}
	if len(a.desk.actors) != wrote {
		t.Errorf("wrote %d times", len(a.desk.actors)-wrote)
	}
}

// TestBadWrites holds that every procedure answers bad input with the status
// and the name for it, and writes nothing.
func TestBadWrites(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	foreign, ref := a.postOf(bob, 1)
	own, ownRef := a.postOf(alice, 2)
	answer, answerRef := a.answerTo(bob, ref, 3)
	const long = "at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3kzzzzzzzzzz2"
	missing := `{"uri":"` + strings.Replace(long, "aliceaaa", "bobaaaaa", 1) + `","cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}`
	tests := []struct {
		method, body string
		status       int
		code         string
	}{
		{postUpdateMethod, `{"title":"x"}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":7}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"https://example.com"}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"` + own + `","title":7}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"` + own + `","tags":"a"}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"` + own + `","swapRecord":"x"}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"` + answer + `","title":"x"}`, 400, "InvalidRequest"},
		{postUpdateMethod, `{"uri":"` + foreign + `","title":"x"}`, 403, "NotAuthorized"},
		{postUpdateMethod, `{"uri":"` + own + `","title":"x"}`, 404, "PostNotFound"}, // the index has it, the repository does not
		{postUpdateMethod, `{"uri":"` + long + `","title":"x"}`, 404, "PostNotFound"},
		{postUpdateMethod, `{"uri":"at://` + string(commons) + `/social.coves.community.post/3kzzzzzzzzzz2","title":"x"}`, 404, "PostNotFound"},
		{postUpdateMethod, `{"uri":"at://nobody.example.com/social.coves.community.postv2/3kzzzzzzzzzz2"}`, 404, "ProfileNotFound"},
		{postDeleteMethod, `{}`, 400, "InvalidRequest"},
		{postDeleteMethod, `{"uri":"` + foreign + `"}`, 403, "NotAuthorized"},
		{postDeleteMethod, `{"uri":"` + answer + `"}`, 400, "InvalidRequest"},
		{postDeleteMethod, `{"uri":"at://` + string(alice) + `/social.coves.actor.profile/self"}`, 400, "InvalidRequest"},
		{commentCreateMethod, `{"content":"c"}`, 400, "InvalidReply"},
		{commentCreateMethod, `{"reply":"x","content":"c"}`, 400, "InvalidRequest"},
		{commentCreateMethod, `{"reply":{"root":` + ref + `},"content":"c"}`, 400, "InvalidReply"},
		{commentCreateMethod, `{"reply":{"root":` + ref + `,"parent":` + ref + `}}`, 400, "ContentEmpty"},
		{commentCreateMethod, strings.Replace(replyTo(ref, ref), `"c"}`, `"`+strings.Repeat("x", 3001)+`"}`, 1), 400, "ContentTooLong"},
		{commentCreateMethod, replyTo(missing, missing), 404, "RootNotFound"},
		{commentCreateMethod, replyTo(ref, strings.Replace(missing, "postv2", "comment", 1)), 404, "ParentNotFound"},
		{commentCreateMethod, replyTo(answerRef, answerRef), 400, "InvalidReply"},
		{commentUpdateMethod, `{"uri":"` + answer + `","content":"x"}`, 403, "NotAuthorized"},
		{commentUpdateMethod, `{"uri":"` + own + `","content":"x"}`, 400, "InvalidRequest"},
		{commentUpdateMethod, `{"uri":"` + strings.Replace(long, "postv2", "comment", 1) + `","content":"x"}`, 404, "CommentNotFound"},
		{commentDeleteMethod, `{"uri":"` + answer + `"}`, 403, "NotAuthorized"},
		{commentDeleteMethod, `{"uri":null}`, 400, "InvalidRequest"},
		{voteCreateMethod, `{"subject":` + ref + `}`, 400, "InvalidRequest"},
		{voteCreateMethod, `{"subject":` + ref + `,"direction":"sideways"}`, 400, "InvalidRequest"},
		{voteCreateMethod, `{"subject":"x","direction":"up"}`, 400, "InvalidRequest"},
		{voteCreateMethod, `{"direction":"up"}`, 400, "InvalidSubject"},
		{voteCreateMethod, `{"subject":{"uri":"` + foreign + `"},"direction":"up"}`, 400, "InvalidSubject"},
		{voteCreateMethod, `{"subject":` + missing + `,"direction":"up"}`, 404, "PostNotFound"},
		{voteDeleteMethod, `{"subject":` + ref + `}`, 404, "VoteNotFound"},
		{voteDeleteMethod, `{"subject":` + missing + `}`, 404, "VoteNotFound"},
		{voteDeleteMethod, `{"subject":{}}`, 400, "InvalidSubject"},
	}
	for _, tt := range tests {
		if got := a.post(tt.method, cookie, tt.body); got.status != tt.status || got.Error != tt.code {
			t.Errorf("%s %.120s: %d %s (%s), want %d %s", tt.method, tt.body, got.status, got.Error, got.Words, tt.status, tt.code)
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
	a.desk.fail = fault.New(fault.Forbidden, "Scope.").WithCode("MissingScope")
	if got := a.post(voteCreateMethod, cookie, `{"subject":`+ownRef+`,"direction":"up"}`); got.status != 403 || got.Error != "MissingScope" {
		t.Errorf("missing scope: %d %s", got.status, got.Error)
	}
}

// replyTo is the input for a comment.
func replyTo(root, parent string) string {
	return `{"reply":{"root":` + root + `,"parent":` + parent + `},"content":"c"}`
}

// answerTo puts a comment of did about the post ref into the index.
func (a *api) answerTo(did syntax.DID, ref string, n int) (uri, answerRef string) {
	a.t.Helper()
	return a.said(did, index.CommentCollection, n, map[string]any{"content": "c",
		"reply": map[string]any{"root": parsed(a.t, ref), "parent": parsed(a.t, ref)}})
}

// TestWritesAboutTheDeactivated holds that nobody answers or votes on what an
// account said that is not active.
func TestWritesAboutTheDeactivated(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	_, ref := a.postOf(bob, 1)
	_, answerRef := a.answerTo(bob, ref, 3)
	at := time.Now()
	err := a.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := a.index.ApplyAccounts(t.Context(), tx, []index.AccountEvent{{DID: bob, Status: &index.Status{Reason: "deactivated", At: at}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, body, code string }{
		{commentCreateMethod, replyTo(ref, ref), "RootNotFound"},
		{voteCreateMethod, `{"subject":` + ref + `,"direction":"up"}`, "PostNotFound"},
		{voteCreateMethod, `{"subject":` + answerRef + `,"direction":"up"}`, "CommentNotFound"},
	} {
		if got := a.post(tt.method, cookie, tt.body); got.status != 404 || got.Error != tt.code {
			t.Errorf("%s about a deactivated account: %d %s, want %s", tt.method, got.status, got.Error, tt.code)
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
}

// TestBadBodies holds what every procedure makes of a body that is no JSON object
// or too large, of visitors, and of a cookie that is another member's.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	for _, method := range []string{postUpdateMethod, postDeleteMethod, commentCreateMethod, commentUpdateMethod, commentDeleteMethod,
		voteCreateMethod, voteDeleteMethod, profileMethod, uploadMethod} {
		for _, body := range []string{"", "[]", "{", "\"\xff\"", "{}{}"} {
			if got := a.post(method, cookie, body); got.status != 400 || got.Error != "InvalidRequest" {
				t.Errorf("%s %q: %d %s", method, body, got.status, got.Error)
			}
		}
		if got := a.post(method, cookie, strings.Repeat(" ", 13<<20)); got.status != http.StatusRequestEntityTooLarge && method != uploadMethod {
			t.Errorf("%s with 13 MB: %d %s", method, got.status, got.Error)
		}
		if got := a.post(method, "", "{}"); got.status != 401 || got.Error != "AuthRequired" {
			t.Errorf("%s by a visitor: %d %s", method, got.status, got.Error)
		}
		if got := a.post(method, a.signIn("", bob), "{}"); got.status == 200 {
			t.Errorf("%s as alice with bob's cookie: %d", method, got.status)
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
}

func parsed(t *testing.T, ref string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(ref), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTooManyPicturesAtOnce holds that large bodies are taken within one bound
// for all, and that everything else goes on meanwhile.
func TestTooManyPicturesAtOnce(t *testing.T) {
	t.Parallel()
	intake := httpserver.NewIntake(10_000, 10_000)
	a := newAPI(t, func(c *Config) { c.Intake = intake })
	cookie := a.signIn("", alice)
	file := string(drawing(t))
	others := intake.Enter("others")
	if _, err := io.Copy(io.Discard, others.Reader(bytes.NewReader(make([]byte, 10_000)))); err != nil {
		t.Fatal(err)
	}
	profile := `{"avatarBlob":"` + base64.StdEncoding.EncodeToString([]byte(file)) + `","avatarMimeType":"image/png"}`
	for method, c := range map[string][2]string{uploadMethod: {file, "image/png"}, "social.coves.actor.updateProfile": {profile, "application/json"}} {
		got := a.post(method, cookie, c[0], "Content-Type", c[1])
		if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "in a moment") {
			t.Errorf("%s: %d, Retry-After %q: %s; want 503", method, got.status, got.header.Get("Retry-After"), got.body)
		}
	}
	if got := a.post("social.coves.community.post.create", cookie, `{"community":"commons.example.com","title":"t"}`); got.status != 200 {
		t.Errorf("a post without pictures: %d %s", got.status, got.body)
	}
	others.Leave()
	for range 3 { // none of it stays
		a.fields(a.post(uploadMethod, cookie, file, "Content-Type", "image/png"))
		a.fields(a.post("social.coves.actor.updateProfile", cookie, profile))
	}
	if _, err := io.Copy(io.Discard, others.Reader(bytes.NewReader(make([]byte, 10_000)))); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
