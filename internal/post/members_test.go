package post

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// get asks an account's server in nobody's name.
func (w *world) get(t *testing.T, did syntax.DID, method string, params url.Values) []byte {
	t.Helper()
	ident, err := w.directory.LookupDID(t.Context(), did)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := w.directory.PDS(ident)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/xrpc/"+method+"?"+params.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.fetch.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", method, res.StatusCode, body, err)
	}
	return body
}

// records lists what is in a repository, newest key first.
func (w *world) records(t *testing.T, did syntax.DID, collection syntax.NSID) (all []struct {
	URI   syntax.ATURI   `json:"uri"`
	Value map[string]any `json:"value"`
}) {
	t.Helper()
	body := w.get(t, did, "com.atproto.repo.listRecords", url.Values{"repo": {did.String()}, "collection": {collection.String()}, "limit": {"100"}})
	out := struct{ Records any }{&all}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return all
}

// rev is the revision of a repository.
func (w *world) rev(t *testing.T, did syntax.DID) string {
	t.Helper()
	return string(w.get(t, did, "com.atproto.sync.getLatestCommit", url.Values{"did": {did.String()}}))
}

// must unwraps what has to succeed.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused wants an error with a code for people.
func refused(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: done, want %s", what, code)
		return
	}
	if f := fault.From(err); f.Kind != kind || f.Code != code || f.Public == "" {
		t.Errorf("%s: %v (%s %s), want %s %s", what, err, f.Kind, f.Code, kind, code)
	}
}

// photo is a picture that says where it was taken.
func photo(t *testing.T, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	said := "Exif\x00\x00 51.4778,-0.0014"
	out := append([]byte("\xff\xd8\xff\xe1"), binary.BigEndian.AppendUint16(nil, uint16(len(said)+2))...)
	return append(append(out, said...), b.Bytes()[2:]...)
}

func sent[T any](v T) Change[T] { return Change[T]{Sent: true, Value: v} }

func ref(c Created) Ref { return Ref{URI: c.URI.String(), CID: c.CID.String()} }

// TestAMemberPostsAndEdits holds C2 and C5 on the official server: pictures go
// to the author's own server without their place, an edit keeps what was not
// sent, nobody edits for somebody else, and what is deleted is gone.
func TestAMemberPostsAndEdits(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s := w.service(t, agent.OAuth(w.oauth))
		community := w.found(t, 0)
		author, other := w.signIn(t, 1), w.signIn(t, 0)
		up := must(s.UploadImage(t.Context(), author, photo(t, 40, 30)))(t)
		if up.Width != 40 || up.Height != 30 || up.Blob.MimeType != media.JPEG {
			t.Errorf("uploaded %+v", up)
		}
		blob := must(json.Marshal(up.Blob))(t)
		embed := `{"$type":"social.coves.embed.images","images":[{"image":` + string(blob) + `,"alt":"a cat","aspectRatio":{"width":40,"height":30}}]}`
		first := must(s.Create(t.Context(), author, CreateInput{Community: community.Handle, Title: "cats", Content: "bold cat",
			Facets: json.RawMessage(`[{"index":{"byteStart":0,"byteEnd":4},"features":[{"$type":"social.coves.richtext.facet#bold"}]}]`),
			Embed:  json.RawMessage(embed), Langs: []string{"en"}, Tags: []string{"cats"}}))(t)
		stored := w.get(t, author.DID, "com.atproto.sync.getBlob", url.Values{"did": {author.DID.String()}, "cid": {up.Blob.Ref.String()}})
		if bytes.Contains(stored, []byte("51.4778")) {
			t.Error("the stored picture says where it was taken")
		}
		second := must(s.Update(t.Context(), author, UpdateInput{URI: first.URI.String(), Content: sent("a plain cat"), Swap: first.CID}))(t)
		is := w.records(t, author.DID, index.PostCollection)[0].Value
		if is["title"] != "cats" || is["content"] != "a plain cat" || is["embed"] == nil || is["tags"] == nil || is["facets"] != nil {
			t.Errorf("after the edit: %v", is)
		}
		if at := w.with(t, author.DID); len(at) != 1 || at[0].CID != second.CID || at[0].EditedAt.IsZero() {
			t.Errorf("the index has %+v", at)
		}
		before := w.rev(t, author.DID)
		if again := must(s.Update(t.Context(), author, UpdateInput{URI: first.URI.String(), Content: sent("a plain cat"), Swap: first.CID}))(t); again != second {
			t.Errorf("the same edit again: %+v", again)
		}
		_, err := s.Update(t.Context(), author, UpdateInput{URI: first.URI.String(), Title: sent("dogs"), Swap: first.CID})
		refused(t, "a stale edit", err, fault.Conflict, "InvalidSwap")
		_, err = s.Update(t.Context(), other, UpdateInput{URI: first.URI.String(), Title: sent("dogs")})
		refused(t, "somebody else's edit", err, fault.Forbidden, "NotAuthorized")
		refused(t, "somebody else's delete", s.Delete(t.Context(), other, first.URI.String()), fault.Forbidden, "NotAuthorized")
		_, err = s.Update(t.Context(), author, UpdateInput{URI: first.URI.String(), Title: sent(""), Content: sent(""), Embed: Change[json.RawMessage]{Sent: true}})
		refused(t, "an edit that leaves nothing", err, fault.Invalid, "ContentEmpty")
		_, err = s.Create(t.Context(), author, CreateInput{Community: community.Handle, Title: "stolen",
			Embed: json.RawMessage(strings.ReplaceAll(embed, up.Blob.Ref.String(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"))})
		refused(t, "a picture that nobody uploaded", err, fault.Invalid, "InvalidRequest")
		if after := w.rev(t, author.DID); after != before {
			t.Errorf("something was written: %s, then %s", before, after)
		}
		for range 2 {
			if err := s.Delete(t.Context(), author, first.URI.String()); err != nil {
				t.Fatal(err)
			}
		}
		if n, at := len(w.records(t, author.DID, index.PostCollection)), w.with(t, author.DID); n != 0 || len(at) != 0 {
			t.Errorf("deleted, and there are %d records and %v", n, at)
		}
		_, err = s.Update(t.Context(), author, UpdateInput{URI: first.URI.String(), Title: sent("cats")})
		refused(t, "an edit of what is deleted", err, fault.NotFound, "PostNotFound")
	})
}

// TestConcurrentEdits holds that of edits of different fields at once none is
// lost.
func TestConcurrentEdits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	s := w.service(t, agent.OAuth(w.oauth))
	author := w.signIn(t, 0)
	made := must(s.Create(t.Context(), author, CreateInput{Community: string(author.DID), Title: "t"}))(t)
	edits := []UpdateInput{{Title: sent("new")}, {Content: sent("text")}, {Tags: sent([]string{"a"})}}
	var all sync.WaitGroup
	for _, in := range edits {
		in.URI = made.URI.String()
		all.Go(func() {
			if _, err := s.Update(t.Context(), author, in); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	is := w.records(t, author.DID, index.PostCollection)[0].Value
	if is["title"] != "new" || is["content"] != "text" || fmt.Sprint(is["tags"]) != "[a]" {
		t.Errorf("after all edits: %v", is)
	}
}

// TestAMemberComments holds C7's writing: answers by a member of another
// server, seen at once, edited, deleted, and counted.
func TestAMemberComments(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s := w.service(t, agent.OAuth(w.oauth))
		author, reader := w.signIn(t, 0), w.signIn(t, 1)
		root := must(s.Create(t.Context(), author, CreateInput{Community: string(author.DID), Title: "t"}))(t)
		say := CommentInput{Root: ref(root), Parent: ref(root), Content: "first!", Key: "k"}
		first := must(s.CreateComment(t.Context(), reader, say))(t)
		if again := must(s.CreateComment(t.Context(), reader, say))(t); again != first {
			t.Errorf("the same request again: %+v", again)
		}
		answer := must(s.CreateComment(t.Context(), author, CommentInput{Root: ref(root), Parent: ref(first), Content: "second"}))(t)
		edited := must(s.UpdateComment(t.Context(), reader, CommentUpdate{URI: first.URI.String(), Content: sent("First."), Langs: sent([]string{"en"})}))(t)
		is := w.records(t, reader.DID, index.CommentCollection)
		if len(is) != 1 || is[0].Value["content"] != "First." || is[0].Value["reply"] == nil {
			t.Errorf("after the edit: %v", is)
		}
		if got, _, err := w.index.Subject(t.Context(), first.URI); err != nil || got.CID != edited.CID || got.Root != root.URI || !got.Visible {
			t.Errorf("the index has %+v, %v", got, err)
		}
		if at := w.with(t, author.DID); len(at) != 1 || at[0].Comments != 2 {
			t.Errorf("the post has %+v", at)
		}
		refused(t, "somebody else's comment", s.DeleteComment(t.Context(), author, first.URI.String()), fault.Forbidden, "NotAuthorized")
		if err := s.DeleteComment(t.Context(), reader, first.URI.String()); err != nil {
			t.Fatal(err)
		}
		_, err := s.CreateComment(t.Context(), reader, CommentInput{Root: ref(root), Parent: ref(first), Content: "too late"})
		refused(t, "an answer to what is deleted", err, fault.NotFound, "ParentNotFound")
		_, err = s.UpdateComment(t.Context(), reader, CommentUpdate{URI: first.URI.String(), Content: sent("x")})
		refused(t, "an edit of what is deleted", err, fault.NotFound, "CommentNotFound")
		if got, _, err := w.index.Subject(t.Context(), answer.URI); err != nil || !got.Visible || w.with(t, author.DID)[0].Comments != 1 {
			t.Errorf("the answer to it: %+v, %v", got, err)
		}
	})
}

// TestVotesFromTwoTabs holds C8 on the official server, over two processes on
// one database: whatever is clicked at once, the index counts what the
// repository says, and of the records one is left at most.
func TestVotesFromTwoTabs(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		tabs := []*Service{w.service(t, agent.OAuth(w.oauth)), w.service(t, agent.OAuth(w.oauth))}
		author, voter := w.signIn(t, 0), w.signIn(t, 1)
		subject := must(tabs[0].Create(t.Context(), author, CreateInput{Community: string(author.DID), Title: "t"}))(t)
		for round := range size.Size(4, 40) {
			var all sync.WaitGroup
			for click := range 5 {
				tab, what := tabs[click%2], rand.IntN(3)
				all.Go(func() {
					if what == 0 {
						if err := tab.Withdraw(t.Context(), voter, subject.URI.String()); err != nil && fault.From(err).Code != "VoteNotFound" {
							t.Errorf("withdraw: %v", err)
						}
						return
					}
					if _, err := tab.Vote(t.Context(), voter, VoteInput{Subject: ref(subject), Up: what == 1}); err != nil {
						t.Errorf("vote: %v", err)
					}
				})
			}
			all.Wait()
			want := map[any]int64{}
			live := w.records(t, voter.DID, index.VoteCollection)
			if len(live) > 1 {
				t.Errorf("round %d: %d records", round, len(live))
			}
			for _, r := range live {
				want[r.Value["direction"]]++
			}
			if at := w.with(t, author.DID)[0]; at.Upvotes != want["up"] || at.Downvotes != want["down"] {
				t.Errorf("round %d: counted %d up, %d down; the repository says %v", round, at.Upvotes, at.Downvotes, want)
			}
		}
	})
}

// TestSuperfluousVotes holds that records which another client has put beside
// the one that counts go with the next vote, also one whose key is ahead of our
// clock.
func TestSuperfluousVotes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	s := w.service(t, agent.OAuth(w.oauth))
	author, voter := w.signIn(t, 0), w.signIn(t, 0)
	subject := must(s.Create(t.Context(), author, CreateInput{Community: string(author.DID), Title: "t"}))(t)
	for i, ahead := range []int64{-5_000_000, 0, 3_600_000_000} {
		key := syntax.NewTID(syntax.NewTIDNow(0).Time().UnixMicro()+ahead, uint(i))
		record := map[string]any{"$type": string(index.VoteCollection), "direction": "up", "subject": strong(subject.URI, subject.CID.String())}
		must(s.cfg.Records.Create(t.Context(), voter, dated(record, key)))(t)
	}
	down := must(s.Vote(t.Context(), voter, VoteInput{Subject: ref(subject)}))(t)
	if live := w.records(t, voter.DID, index.VoteCollection); len(live) != 1 || live[0].URI != down.URI {
		t.Errorf("left: %v, want %s", live, down.URI)
	}
	if at := w.with(t, author.DID)[0]; at.Upvotes != 0 || at.Downvotes != 1 {
		t.Errorf("counted %d up, %d down", at.Upvotes, at.Downvotes)
	}
}

// TestAProfileKeepsWhatWasNotSent holds the same for profiles, which other
// servers lost pictures from.
func TestAProfileKeepsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s := w.service(t, agent.OAuth(w.oauth))
		member := w.signIn(t, 1)
		is := func() map[string]any { return w.records(t, member.DID, index.PersonCollection)[0].Value }
		avatar := Picture{Base64: sent(base64.StdEncoding.EncodeToString(photo(t, 30, 30))), MIME: "image/jpeg"}
		// Another picture: the official PDS stores one that a record names twice by
		// two tasks at once, which now and then are in each other's way.
		banner := Picture{Base64: sent(base64.StdEncoding.EncodeToString(photo(t, 60, 20))), MIME: "image/jpeg"}
		must(s.UpdateProfile(t.Context(), member, ProfileInput{DisplayName: sent("Alice"), Avatar: avatar, Banner: banner}))(t)
		was := is()
		done := must(s.UpdateProfile(t.Context(), member, ProfileInput{Bio: sent("gardens"), Avatar: Picture{Base64: sent("")}}))(t)
		now := is()
		if now["displayName"] != "Alice" || now["bio"] != "gardens" || now["avatar"] == nil || now["banner"] == nil || now["createdAt"] != was["createdAt"] {
			t.Errorf("%v became %v", was, now)
		}
		if p, ok, err := w.index.Profile(t.Context(), member.DID); err != nil || !ok || !strings.Contains(string(p.Record), "gardens") {
			t.Errorf("the index has %s, %t, %v", p.Record, ok, err)
		}
		before := w.rev(t, member.DID)
		if again := must(s.UpdateProfile(t.Context(), member, ProfileInput{Bio: sent("gardens")}))(t); again != done || w.rev(t, member.DID) != before {
			t.Errorf("nothing new: %+v after %+v", again, done)
		}
		must(s.UpdateProfile(t.Context(), member, ProfileInput{DisplayName: sent(""), Banner: Picture{Base64: Change[string]{Sent: true, Null: true}}}))(t)
		if now := is(); now["displayName"] != nil || now["banner"] != nil || now["avatar"] == nil || now["bio"] != "gardens" {
			t.Errorf("name and banner are taken away, what is left: %v", now)
		}
		var all sync.WaitGroup
		for _, in := range []ProfileInput{{DisplayName: sent("A")}, {Bio: sent("B")}} {
			all.Go(func() { must(s.UpdateProfile(t.Context(), member, in))(t) })
		}
		all.Wait()
		if now := is(); now["displayName"] != "A" || now["bio"] != "B" || now["avatar"] == nil {
			t.Errorf("two changes at once: %v", now)
		}
	})
}

// TestNothingIsWrittenForBadRequests holds that the official server hears
// nothing of requests that cannot be met, whatever is wrong with them.
func TestNothingIsWrittenForBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	s := w.service(t, agent.OAuth(w.oauth))
	author, member := w.signIn(t, 0), w.signIn(t, 1)
	root := must(s.Create(t.Context(), author, CreateInput{Community: string(author.DID), Title: "t"}))(t)
	stranger := Ref{URI: recordAt(author.DID, index.PostCollection, "3kzzzzzzzzzz2").String(), CID: root.CID.String()}
	film := append(photo(t, 9, 9)[:40], "cut"...)
	before := w.rev(t, member.DID)
	for name, try := range map[string]func() error{
		"a post of nothing": func() error {
			_, err := s.Create(t.Context(), member, CreateInput{Community: string(author.DID)})
			return err
		},
		"a post to nobody": func() error {
			_, err := s.Create(t.Context(), member, CreateInput{Community: "nobody." + w.net.PDS[0].HandleDomain, Title: "t"})
			return err
		},
		"an edit of somebody else's post": func() error {
			_, err := s.Update(t.Context(), member, UpdateInput{URI: root.URI.String(), Title: sent("mine")})
			return err
		},
		"an edit of what is not there": func() error {
			_, err := s.Update(t.Context(), member, UpdateInput{URI: strings.Replace(stranger.URI, author.DID.String(), member.DID.String(), 1), Title: sent("x")})
			return err
		},
		"somebody else's post deleted": func() error { return s.Delete(t.Context(), member, root.URI.String()) },
		"a comment on what is not there": func() error {
			_, err := s.CreateComment(t.Context(), member, CommentInput{Root: stranger, Parent: stranger, Content: "c"})
			return err
		},
		"a comment of nothing": func() error {
			_, err := s.CreateComment(t.Context(), member, CommentInput{Root: ref(root), Parent: ref(root)})
			return err
		},
		"a quote of what is not there": func() error {
			_, err := s.Create(t.Context(), member, CreateInput{Community: string(author.DID), Title: "t", Embed: json.RawMessage(fmt.Sprintf(
				`{"$type":"social.coves.embed.post","post":{"uri":%q,"cid":%q}}`, stranger.URI, stranger.CID))})
			return err
		},
		"a vote on what is not there": func() error {
			_, err := s.Vote(t.Context(), member, VoteInput{Subject: stranger, Up: true})
			return err
		},
		"a vote taken back that was none": func() error { return s.Withdraw(t.Context(), member, root.URI.String()) },
		"a picture that is cut": func() error {
			_, err := s.UploadImage(t.Context(), member, film)
			return err
		},
		"a profile with a page for an avatar": func() error {
			_, err := s.UpdateProfile(t.Context(), member, ProfileInput{DisplayName: sent("x"),
				Avatar: Picture{Base64: sent(base64.StdEncoding.EncodeToString([]byte("<html>")))}})
			return err
		},
		"a name of 65 characters": func() error {
			_, err := s.UpdateProfile(t.Context(), member, ProfileInput{DisplayName: sent(strings.Repeat("é", 65))})
			return err
		},
	} {
		if err := try(); err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := w.rev(t, member.DID); after != before {
		t.Errorf("something was written: %s, then %s", before, after)
	}
}

// TestQuotingAcrossServers holds that a post which the index has not seen is
// looked for at its author's server, also one of Bluesky, and its version is
// checked.
func TestQuotingAcrossServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	s := w.service(t, agent.OAuth(w.oauth))
	member := w.signIn(t, 0)
	other := must(w.net.SignInWithPassword(t.Context(), w.net.NewAccount(t, 1)))(t)
	for _, collection := range []syntax.NSID{blueskyPost, index.PostCollection} {
		key := string(syntax.NewTIDNow(4))
		record := map[string]any{"text": "hi", "createdAt": syntax.DatetimeNow().String()}
		if collection == index.PostCollection {
			record = map[string]any{"title": "hi", "community": other.Account.DID, "createdAt": syntax.DatetimeNow().String()}
		}
		made := must(other.CreateRecord(t.Context(), collection.String(), key, record))(t)
		quote := func(cid string) error {
			_, err := s.Create(t.Context(), member, CreateInput{Community: string(member.DID), Title: "look", Embed: json.RawMessage(fmt.Sprintf(
				`{"$type":"social.coves.embed.post","post":{"uri":%q,"cid":%q}}`, made.URI, cid))})
			return err
		}
		refused(t, "another version of "+collection.String(), quote(someCID), fault.Invalid, "InvalidRequest")
		if err := quote(made.CID); err != nil {
			t.Errorf("%s: %v", collection, err)
		}
	}
}
