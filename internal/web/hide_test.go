package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

var (
	carol = person{DID: "did:plc:eeeeeeeeeeeeeeeeeeeeeeee", Handle: "carol.two.test"} // who looks
	dave  = person{DID: "did:plc:ffffffffffffffffffffffff", Handle: "dave.two.test"}
)

// What is looked for on pages: words that stand in one record each.
const (
	postMark      = "the-post-itself"
	commentMark   = "the-comment-itself"
	communityMark = "the-community-itself"
	personMark    = "the-person-itself"
)

// shelf is a small network for looking at: alice has posted in commons, bob has
// commented, dave quotes the post in reef, carol follows commons.
type shelf struct {
	*site
	t       *testing.T
	post    syntax.ATURI
	cid     string
	comment syntax.ATURI
	quote   syntax.ATURI
	pages   map[string]shown
}

// shown is a page and what it shows of the shelf.
type shown struct {
	pattern, path string
	marks         []string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{site: newSite(t), t: t}
	s.says(commons, nil)
	s.apply(t, reef, index.CommunityCollection, "self", map[string]any{"name": "reef", "createdAt": "2026-01-02T03:04:05Z",
		"createdBy": bob.DID, "hostedBy": "did:web:one.test", "visibility": "unlisted"})
	s.apply(t, alice, index.PersonCollection, "self", map[string]any{"displayName": personMark, "createdAt": "2026-01-02T03:04:05Z"})
	s.post = s.written(alice, index.PostCollection, 1, map[string]any{"community": commons.DID, "title": postMark})
	s.cid = s.cidOf(map[string]any{"community": commons.DID, "title": postMark})
	s.decide(commons, index.AcceptanceCollection, s.post, s.cid)
	ref := map[string]any{"uri": s.post.String(), "cid": s.cid}
	s.comment = s.written(bob, index.CommentCollection, 2, map[string]any{"content": commentMark, "reply": map[string]any{"root": ref, "parent": ref}})
	quote := map[string]any{"community": reef.DID, "title": "a quote", "embed": map[string]any{"$type": "social.coves.embed.post", "post": ref}}
	s.quote = s.written(dave, index.PostCollection, 3, quote)
	s.decide(reef, index.AcceptanceCollection, s.quote, s.cidOf(quote))
	s.written(carol, index.SubscriptionCollection, 4, map[string]any{"subject": commons.DID})
	at := func(uri syntax.ATURI) string { return uri.Authority().String() + "/" + uri.RecordKey().String() }
	s.pages = map[string]shown{
		"home":       {"GET /{$}", "/?sort=new", []string{postMark}},
		"discover":   {"GET /discover", "/discover?sort=top&t=all", []string{postMark}},
		"all":        {"GET /all", "/all", []string{postMark}},
		"list":       {"GET /communities", "/communities", []string{communityMark}},
		"community":  {"GET /c/{community}", "/c/" + commons.Handle, []string{postMark, communityMark}},
		"posts":      {"GET /u/{member}", "/u/" + alice.Handle, []string{postMark, personMark}},
		"comments":   {"GET /u/{member}/comments", "/u/" + bob.DID + "/comments", []string{commentMark}},
		"thread":     {"GET /p/{did}/{rkey}", "/p/" + at(s.post), []string{postMark, commentMark}},
		"answer":     {"GET /p/{did}/{rkey}/c/{author}/{key}", "/p/" + at(s.post) + "/c/" + at(s.comment), []string{postMark, commentMark}},
		"quote":      {"GET /p/{did}/{rkey}", "/p/" + at(s.quote), []string{postMark}},
		"quote-list": {"GET /c/{community}", "/c/" + reef.DID + "?sort=new", []string{postMark}},
	}
	return s
}

// record is what a written record is, with what every one has.
func (s *shelf) record(r map[string]any) map[string]any {
	r["createdAt"] = sampleNow.Add(-time.Minute).Format("2006-01-02T15:04:05.000Z")
	return r
}

func (s *shelf) cidOf(r map[string]any) string {
	s.t.Helper()
	r = s.record(r)
	r["$type"] = index.PostCollection.String()
	return ok(agent.RecordCID(r))(s.t).String()
}

func (s *shelf) written(who person, collection syntax.NSID, n int, r map[string]any) syntax.ATURI {
	s.t.Helper()
	return s.apply(s.t, who, collection, postKey(n), s.record(r))
}

// says changes what commons says of itself.
func (s *shelf) says(who person, more map[string]any) {
	s.t.Helper()
	r := map[string]any{"name": "commons", "displayName": communityMark, "createdAt": "2026-01-02T03:04:05Z", "createdBy": bob.DID, "hostedBy": "did:web:one.test"}
	for name, value := range more {
		r[name] = value
	}
	s.apply(s.t, who, index.CommunityCollection, "self", r)
}

// decide has a community accept or remove a post.
func (s *shelf) decide(community person, collection syntax.NSID, uri syntax.ATURI, cid string) {
	s.t.Helper()
	s.apply(s.t, community, collection, index.AdmissionKey(uri), map[string]any{
		"subject": map[string]any{"uri": uri.String(), "cid": cid}, "code": "spam", "createdAt": "2026-01-02T03:04:05Z"})
}

// remove deletes a record.
func (s *shelf) remove(who person, collection syntax.NSID, key syntax.RecordKey) {
	s.t.Helper()
	s.pds.mu.Lock()
	rev := s.pds.rev()
	s.pds.mu.Unlock()
	commit, _ := s.index.Prepare(syntax.DID(who.DID), rev, []index.Op{{Action: index.Delete, Collection: collection, RKey: key}})
	s.change(func(tx *store.Tx) error {
		_, err := s.index.Apply(s.t.Context(), tx, []index.Commit{commit})
		return err
	})
}

func (s *shelf) change(do func(tx *store.Tx) error) {
	s.t.Helper()
	if err := s.db.Tx(s.t.Context(), do); err != nil {
		s.t.Fatal(err)
	}
}

// inactive has an account's server say that it is not active.
func (s *shelf) inactive(who person) {
	s.t.Helper()
	s.change(func(tx *store.Tx) error {
		_, err := s.index.ApplyAccounts(s.t.Context(), tx, []index.AccountEvent{{DID: syntax.DID(who.DID),
			Status: &index.Status{Reason: "suspended", At: sampleNow}}})
		return err
	})
}

func (s *shelf) ban(who person) {
	s.t.Helper()
	s.written(commons, index.BanCollection, 9, map[string]any{"community": commons.DID, "subject": who.DID, "banType": "moderator", "reason": "spam"})
}

func (s *shelf) blocks(collection syntax.NSID, who person) {
	s.t.Helper()
	s.written(carol, collection, 10, map[string]any{"subject": who.DID})
}

// refuse finds out that the host of commons denies it.
func (s *shelf) refuse() {
	s.t.Helper()
	no := false
	for _, c := range ok(s.index.HostClaims(s.t.Context(), 10))(s.t) {
		if c.Community.DID != syntax.DID(commons.DID) {
			continue
		}
		if err := s.index.AnswerHost(s.t.Context(), c, index.HostAnswer{OK: &no}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// showing lists the pages on which b can see a mark.
func (s *shelf) showing(b *browser, mark string) (out []string) {
	s.t.Helper()
	for name, p := range s.pages {
		if !slices.Contains(p.marks, mark) {
			continue
		}
		a := b.get(p.path)
		if a.status != http.StatusOK && a.status != http.StatusNotFound {
			s.t.Errorf("%s: status %d", name, a.status)
		}
		if strings.Contains(a.body, mark) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// TestEveryPageIsListed holds that no page of what others wrote escapes the test
// of hiding.
func TestEveryPageIsListed(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	listed := map[string]bool{"GET /img/{preset}/plain/{did}/{cid}": true} // pictures, see package media
	for _, p := range s.pages {
		listed[p.pattern] = true
	}
	for pattern := range s.readingRoutes() {
		if !listed[pattern] {
			t.Errorf("%s shows something that the test of hiding does not know; add it to pages", pattern)
		}
	}
}

// TestPagesHide holds F4 for pages: each reason to hide holds on every one.
func TestPagesHide(t *testing.T) {
	t.Parallel()
	const (
		nowhere    = "-"
		everywhere = "+"
		byName     = "posts thread answer quote quote-list" // and not where everybody comes along
	)
	tests := []struct {
		name string
		do   func(s *shelf)
		// Pages on which marks stay; nothing means all of them.
		post, comment, community, person string
		forVisitors                      string // where the post stays for visitors, if that differs
	}{
		{name: "nothing", do: func(*shelf) {}},
		{name: "the post is deleted", do: func(s *shelf) { s.remove(alice, index.PostCollection, s.post.RecordKey()) }, post: nowhere, comment: nowhere},
		{name: "the post is removed", do: func(s *shelf) { s.decide(commons, index.RemovalCollection, s.post, s.cid) }, post: nowhere, comment: nowhere},
		{name: "the author is not active", do: func(s *shelf) { s.inactive(alice) }, post: nowhere, comment: nowhere, person: nowhere},
		{name: "the commenter is not active", do: func(s *shelf) { s.inactive(bob) }, comment: nowhere},
		{name: "the comment is deleted", do: func(s *shelf) { s.remove(bob, index.CommentCollection, s.comment.RecordKey()) },
			post: "home discover all community posts thread quote quote-list", comment: nowhere}, // its own address is gone
		{name: "the author is shut out", do: func(s *shelf) { s.ban(alice) }, post: nowhere, comment: nowhere},
		{name: "the commenter is shut out", do: func(s *shelf) { s.ban(bob) }, comment: nowhere},
		{name: "carol blocks the author", do: func(s *shelf) { s.blocks(index.PersonBlockCollection, alice) }, post: nowhere, comment: nowhere,
			forVisitors: everywhere},
		{name: "carol blocks the commenter", do: func(s *shelf) { s.blocks(index.PersonBlockCollection, bob) }, comment: nowhere,
			forVisitors: everywhere},
		{name: "carol blocks the community", do: func(s *shelf) { s.blocks(index.CommunityBlockCollection, commons) }, post: nowhere, comment: nowhere,
			community: "community", forVisitors: everywhere},
		{name: "the community is not active", do: func(s *shelf) { s.inactive(commons) }, post: nowhere, comment: nowhere, community: nowhere},
		{name: "the host is refused", do: func(s *shelf) { s.refuse() }, post: nowhere, comment: nowhere, community: nowhere},
		{name: "unlisted", do: func(s *shelf) { s.says(commons, map[string]any{"visibility": "unlisted"}) },
			post: "home community " + byName, community: "community"},
		{name: "private, with carol inside", do: func(s *shelf) { s.says(commons, map[string]any{"visibility": "private"}) },
			post: "home community " + byName, community: "community", forVisitors: nowhere},
		{name: "private, with carol shut out", do: func(s *shelf) { s.says(commons, map[string]any{"visibility": "private"}); s.ban(carol) },
			post: nowhere, comment: nowhere, community: "community"},
		{name: "the community warns, and carol follows it", do: func(s *shelf) { s.says(commons, map[string]any{"contentWarnings": []any{"nsfw"}}) },
			forVisitors: "community " + byName},
		{name: "waiting", do: func(s *shelf) { s.remove(commons, index.AcceptanceCollection, index.AdmissionKey(s.post)) },
			post: "discover all " + byName},
		{name: "changed since", do: func(s *shelf) {
			s.written(alice, index.PostCollection, 1, map[string]any{"community": commons.DID, "title": postMark, "content": "more"})
		}, post: "discover all " + byName},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			b, visitor := s.member(t, carol), s.browser(t)
			want := map[string][]string{}
			marks := map[string]string{postMark: tt.post, commentMark: tt.comment, communityMark: tt.community, personMark: tt.person}
			for mark, where := range marks {
				want[mark] = among(s.showing(b, mark), where)
				if len(s.showing(b, mark)) != s.carrying(mark) {
					t.Fatalf("before: %s is shown by %v only", mark, s.showing(b, mark))
				}
			}
			forVisitors := among(s.showing(visitor, postMark), cmp.Or(tt.forVisitors, tt.post))
			tt.do(s)
			for mark := range marks {
				if got := s.showing(b, mark); !slices.Equal(got, want[mark]) {
					t.Errorf("%s is shown by %v, want %v", mark, got, want[mark])
				}
			}
			if got := s.showing(visitor, postMark); !slices.Equal(got, forVisitors) {
				t.Errorf("%s is shown to visitors by %v, want %v", postMark, got, forVisitors)
			}
		})
	}
}

// carrying is how many pages show a mark as long as nothing hides it.
func (s *shelf) carrying(mark string) (n int) {
	for _, p := range s.pages {
		if slices.Contains(p.marks, mark) {
			n++
		}
	}
	return n
}

// among keeps those of names that where lists; nothing and "+" list all.
func among(names []string, where string) []string {
	if where == "" || where == "+" {
		return names
	}
	return slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(strings.Fields(where), n) })
}
