package xrpc

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	carol   = syntax.DID("did:plc:carolaaaaaaaaaaaaaaaaaaa") // who looks
	dave    = syntax.DID("did:plc:daveaaaaaaaaaaaaaaaaaaaa")
	harbour = syntax.DID("did:plc:harbouraaaaaaaaaaaaaaaaa")
)

// What is looked for in answers: words that stand in one record each.
const (
	postMark      = "the-post-itself"
	commentMark   = "the-comment-itself"
	communityMark = "the-community-itself"
	personMark    = "the-person-itself"
)

// library is a small network for reading: alice has posted in commons, bob has
// commented, dave quotes the post in harbour, carol follows commons.
type library struct {
	*api
	cookie        string // carol's
	post, comment syntax.ATURI
	postRef       map[string]any
	quote         string
}

func ref(t *testing.T, uri, text string) map[string]any {
	r := parsed(t, text)
	if r["uri"] != uri {
		t.Fatalf("a reference to %s, want %s", r["uri"], uri)
	}
	return r
}

func newLibrary(t *testing.T) *library {
	t.Helper()
	l := &library{api: newAPI(t)}
	l.cookie = l.signIn("", carol)
	now := map[string]any{"createdAt": "2026-01-02T03:04:05Z"}
	community := func(did syntax.DID, name string, more map[string]any) {
		record := map[string]any{"name": "x", "displayName": name, "createdBy": string(alice), "hostedBy": "did:web:example.com"}
		for k, v := range now {
			record[k] = v
		}
		for k, v := range more {
			record[k] = v
		}
		l.apply(did, index.CommunityCollection, "self", record)
	}
	community(commons, communityMark, nil)
	community(harbour, "the harbour", map[string]any{"visibility": "unlisted"}) // so that lists do not show what it quotes
	l.apply(alice, index.PersonCollection, "self", map[string]any{"displayName": personMark, "createdAt": now["createdAt"]})
	uri, text := l.saidNow(alice, index.PostCollection, 1, map[string]any{"community": string(commons), "title": postMark,
		"embed": map[string]any{"$type": "social.coves.embed.external", "external": map[string]any{"uri": "https://example.com"}}})
	l.post, l.postRef = syntax.ATURI(uri), ref(t, uri, text)
	l.decide(commons, index.AcceptanceCollection, l.postRef)
	uri, _ = l.saidNow(bob, index.CommentCollection, 2, map[string]any{"content": commentMark, "reply": map[string]any{"root": l.postRef, "parent": l.postRef}})
	l.comment = syntax.ATURI(uri)
	uri, text = l.saidNow(dave, index.PostCollection, 3, map[string]any{"community": string(harbour), "title": "a quote",
		"embed": map[string]any{"$type": "social.coves.embed.post", "post": l.postRef}})
	l.quote = uri
	l.decide(harbour, index.AcceptanceCollection, ref(t, uri, text))
	l.apply(carol, index.SubscriptionCollection, tidOf(4), map[string]any{"subject": string(commons), "createdAt": now["createdAt"]})
	return l
}

// tidOf is a key of an hour ago.
func tidOf(n int) syntax.RecordKey {
	return syntax.RecordKey(syntax.NewTIDFromTime(time.Now().Add(-time.Hour+time.Duration(n)*time.Second), 0))
}

// saidNow is said with a time that no timeframe leaves out.
func (l *library) saidNow(did syntax.DID, collection syntax.NSID, n int, record map[string]any) (uri, text string) {
	l.t.Helper()
	record["createdAt"] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	key := tidOf(n)
	l.apply(did, collection, key, record)
	uri = "at://" + string(did) + "/" + string(collection) + "/" + string(key)
	return uri, `{"uri":"` + uri + `","cid":"` + cidOf(l.t, record) + `"}`
}

// decide has a community accept or remove a post.
func (l *library) decide(community syntax.DID, collection syntax.NSID, post map[string]any) {
	sum := sha256.Sum256([]byte(post["uri"].(string)))
	key := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	l.apply(community, collection, syntax.RecordKey(key), map[string]any{"subject": post, "code": "spam", "createdAt": "2026-01-02T03:04:05Z"})
}

// remove deletes a record.
func (l *library) remove(did syntax.DID, collection syntax.NSID, key syntax.RecordKey) {
	l.t.Helper()
	commit, _ := l.index.Prepare(did, syntax.NewTIDNow(0), []index.Op{{Action: index.Delete, Collection: collection, RKey: key}})
	err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
		_, err := l.index.Apply(l.t.Context(), tx, []index.Commit{commit})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// inactive has an account's host say that it is not active.
func (l *library) inactive(did syntax.DID) {
	l.t.Helper()
	err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
		_, err := l.index.ApplyAccounts(l.t.Context(), tx, []index.AccountEvent{{DID: did, Status: &index.Status{Reason: "suspended", At: time.Now()}}})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// profile changes what commons says of itself.
func (l *library) profile(field string, value any) {
	l.apply(commons, index.CommunityCollection, "self", map[string]any{"name": "x", "displayName": communityMark, "createdBy": string(alice),
		"hostedBy": "did:web:example.com", "createdAt": "2026-01-02T03:04:05Z", field: value})
}

// reading is a query that shows something of the library.
type reading struct {
	query url.Values
	marks []string
}

// readings are all queries. A new one has its line here, or among those that
// show nothing of others.
func (l *library) readings() map[syntax.NSID]reading {
	q := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v
	}
	return map[syntax.NSID]reading{
		"social.coves.feed.getDiscover":                {q("sort", "new"), []string{postMark}},
		"social.coves.feed.getAll":                     {q("sort", "top"), []string{postMark}},
		"social.coves.feed.getTimeline":                {q("sort", "hot"), []string{postMark}},
		"social.coves.communityFeed.getCommunity":      {q("community", string(commons)), []string{postMark}},
		"social.coves.feed.getCommunity":               {q("community", string(commons), "sort", "new"), []string{postMark}},
		"social.coves.actor.getPosts":                  {q("actor", string(alice)), []string{postMark}},
		"social.coves.actor.getComments":               {q("actor", string(bob)), []string{commentMark}},
		"social.coves.actor.getProfile":                {q("actor", string(alice)), []string{personMark}},
		"social.coves.community.get":                   {q("community", string(commons)), []string{communityMark}},
		"social.coves.community.list":                  {q(), []string{communityMark}},
		"social.coves.community.search":                {q("q", "the-community"), []string{communityMark}},
		"social.coves.community.post.get":              {q("uris", string(l.post)), []string{postMark}},
		"quoted in social.coves.community.post.get":    {q("uris", l.quote), []string{postMark}},
		"social.coves.community.comment.getComments":   {q("post", string(l.post)), []string{postMark, commentMark}},
		"social.coves.actor.getBlockedUsers":           {},
		"social.coves.community.getBlockedCommunities": {},
		"social.coves.community.post.getStatus":        {q("uri", string(l.post)), nil},
	}
}

// method is the query that a reading is of.
func methodOf(name syntax.NSID) syntax.NSID {
	_, method, quoted := strings.Cut(string(name), "quoted in ")
	if !quoted {
		return name
	}
	return syntax.NSID(method)
}

// shows lists the readings in which a mark can be seen, by carol or a visitor.
func (l *library) shows(mark, cookie string) []string {
	l.t.Helper()
	var out []string
	for name, r := range l.readings() {
		if !slices.Contains(r.marks, mark) || cookie == "" && name == "social.coves.feed.getTimeline" {
			continue
		}
		got := l.do(call{verb: "GET", path: Prefix + string(methodOf(name)) + "?" + r.query.Encode(), cookie: cookie})
		if got.status != 200 && got.status != 404 {
			l.t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if strings.Contains(got.body, mark) {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// TestEveryQueryIsListed holds that no query escapes the tests of this file.
func TestEveryQueryIsListed(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	listed := l.readings()
	for _, m := range l.all() {
		if _, ok := listed[m.nsid]; m.verb == "GET" && !ok {
			t.Errorf("%s shows something that no test of hiding knows; add it to readings", m.nsid)
		}
	}
}

// TestReasonsToHide holds F4: each reason to hide holds for every query, while feeds
// are loading and from memory, in which everything is that was shown before.
func TestReasonsToHide(t *testing.T) {
	t.Parallel()
	const nowhere = "-"
	tests := []struct {
		name string
		do   func(l *library)
		// Where marks stay, by the ends of names; nothing means everywhere.
		post, comment, community, person string
		forVisitors                      string // where the post stays for visitors, if that differs
	}{
		{name: "nothing", do: func(*library) {}},
		{name: "the post is deleted", do: func(l *library) { l.remove(alice, index.PostCollection, l.post.RecordKey()) }, post: nowhere, comment: nowhere},
		{name: "the post is removed", do: func(l *library) { l.decide(commons, index.RemovalCollection, l.postRef) }, post: nowhere, comment: nowhere},
		{name: "the author is not active", do: func(l *library) { l.inactive(alice) }, post: nowhere, comment: nowhere, person: nowhere},
		{name: "the commenter is not active", do: func(l *library) { l.inactive(bob) }, comment: nowhere},
		{name: "the comment is deleted", do: func(l *library) { l.remove(bob, index.CommentCollection, l.comment.RecordKey()) }, comment: nowhere},
		{name: "the author is shut out", do: func(l *library) { l.ban(alice) }, post: nowhere, comment: nowhere},
		{name: "the commenter is shut out", do: func(l *library) { l.ban(bob) }, comment: nowhere},
		{name: "carol blocks the author", do: func(l *library) { l.blocks(index.PersonBlockCollection, alice) }, post: nowhere, comment: nowhere,
			forVisitors: "everywhere"},
		{name: "carol blocks the commenter", do: func(l *library) { l.blocks(index.PersonBlockCollection, bob) }, comment: nowhere, forVisitors: "everywhere"},
		{name: "carol blocks the community", do: func(l *library) { l.blocks(index.CommunityBlockCollection, commons) }, post: nowhere, comment: nowhere,
			community: "community.get", forVisitors: "everywhere"},
		{name: "the community is not active", do: func(l *library) { l.inactive(commons) }, post: nowhere, comment: nowhere, community: nowhere},
		{name: "the host is refused", do: func(l *library) { l.refuse() }, post: nowhere, comment: nowhere, community: nowhere},
		{name: "unlisted", do: func(l *library) { l.profile("visibility", "unlisted") },
			post: "getTimeline getCommunity getPosts post.get getComments", community: "community.get"},
		{name: "private, with carol inside", do: func(l *library) { l.profile("visibility", "private") },
			post: "getTimeline getCommunity getPosts post.get getComments", community: "community.get", forVisitors: nowhere},
		{name: "private, with carol shut out", do: func(l *library) { l.profile("visibility", "private"); l.ban(carol) },
			post: nowhere, comment: nowhere, community: "community.get"},
		{name: "the community warns, and carol follows it", do: func(l *library) { l.profile("contentWarnings", []any{"nsfw"}) },
			forVisitors: "getCommunity getPosts post.get getComments"},
		{name: "waiting", do: func(l *library) { l.remove(commons, index.AcceptanceCollection, l.key()) },
			post: "getDiscover getAll getPosts post.get getComments"},
		{name: "changed since", do: func(l *library) { l.edit() }, post: "getDiscover getAll getPosts post.get getComments"},
	}
	for i := range 2 * len(tests) {
		tt, loaded := tests[i/2], i%2 == 1
		t.Run(fmt.Sprintf("%s, loaded %t", tt.name, loaded), func(t *testing.T) {
			t.Parallel()
			l := newLibrary(t)
			if loaded {
				l.loadFeeds()
			}
			before := map[string][]string{}
			for _, mark := range []string{postMark, commentMark, communityMark, personMark} {
				before[mark] = l.shows(mark, l.cookie)
			}
			visitors := l.shows(postMark, "")
			tt.do(l)
			for mark, where := range map[string]string{postMark: tt.post, commentMark: tt.comment, communityMark: tt.community, personMark: tt.person} {
				l.stays(mark, l.cookie, before[mark], where)
			}
			if tt.forVisitors == "" {
				tt.forVisitors = tt.post
			}
			l.stays(postMark, "", visitors, tt.forVisitors)
		})
	}
}

// loadFeeds has the lists in memory, as the program has soon after its start.
func (l *library) loadFeeds() {
	l.t.Helper()
	go func() { _ = l.cfg.Feeds.Run(l.t.Context()) }()
	for !l.cfg.Feeds.Loaded() {
		if err := l.cfg.Feeds.Probe(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
}

// stays checks where a mark can still be seen.
func (l *library) stays(mark, cookie string, before []string, where string) {
	l.t.Helper()
	var want []string
	for _, name := range before {
		keep := where == "" || where == "everywhere"
		for _, end := range strings.Fields(where) {
			keep = keep || strings.HasSuffix(name, "."+end) || strings.HasSuffix(name, end)
		}
		if keep {
			want = append(want, name)
		}
	}
	if got := l.shows(mark, cookie); !slices.Equal(got, want) {
		l.t.Errorf("%s, signed in %t: shown by %v, want %v", mark, cookie != "", got, want)
	}
}

func (l *library) ban(who syntax.DID) {
	l.apply(commons, index.BanCollection, tidOf(9), map[string]any{"community": string(commons), "subject": string(who),
		"banType": "moderator", "reason": "spam", "createdAt": "2026-01-02T03:04:05Z"})
}

func (l *library) blocks(collection syntax.NSID, who syntax.DID) {
	l.apply(carol, collection, tidOf(10), map[string]any{"subject": string(who), "createdAt": "2026-01-02T03:04:05Z"})
}

// refuse finds out that the host of commons denies it.
func (l *library) refuse() {
	l.t.Helper()
	err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
		return l.index.Identify(l.t.Context(), tx, index.Identity{DID: commons, Handle: "commons.example.com", PDS: "https://pds.example.com"})
	})
	if err != nil {
		l.t.Fatal(err)
	}
	no := false
	for _, c := range must(l.index.HostClaims(l.t.Context(), 10))(l.t) {
		if err := l.index.AnswerHost(l.t.Context(), c, index.HostAnswer{OK: &no}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// key is that of the acceptance of the post.
func (l *library) key() syntax.RecordKey {
	sum := sha256.Sum256([]byte(l.post))
	return syntax.RecordKey(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])))
}

// edit changes the post after it was accepted.
func (l *library) edit() {
	l.apply(alice, index.PostCollection, l.post.RecordKey(), map[string]any{"community": string(commons), "title": postMark, "content": "more",
		"createdAt": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)})
}

// TestAnswersFitTheirLexicon holds that what queries answer is what their
// contracts say, for members and for visitors, with everything in it that there
// can be.
func TestAnswersFitTheirLexicon(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	l.blocks(index.PersonBlockCollection, dave)
	l.apply(carol, index.VoteCollection, tidOf(11), map[string]any{"subject": l.postRef, "direction": "up", "createdAt": "2026-01-02T03:04:05Z"})
	_, reply := l.saidNow(bob, index.CommentCollection, 12, map[string]any{"content": "to be gone", "reply": map[string]any{"root": l.postRef, "parent": l.postRef}})
	gone := parsed(t, reply)
	l.saidNow(alice, index.CommentCollection, 13, map[string]any{"content": "below", "reply": map[string]any{"root": l.postRef, "parent": gone}})
	l.remove(bob, index.CommentCollection, tidOf(12))
	for name, r := range l.readings() {
		for _, cookie := range []string{l.cookie, ""} {
			method := methodOf(name)
			got := l.do(call{verb: "GET", path: Prefix + string(method) + "?" + r.query.Encode(), cookie: cookie})
			if cookie == "" && got.status == 401 {
				continue
			}
			if got.status != 200 { // what is in it, do has compared with the lexicon
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
}

func cidOf(t *testing.T, record map[string]any) string {
	t.Helper()
	return must(agent.RecordCID(record))(t).String()
}

// TestDocumentationNamesEveryMethod holds that docs/api.md is complete.
func TestDocumentationNamesEveryMethod(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for nsid := range newAPI(t).methods {
		if !strings.Contains(string(text), "`"+nsid.String()+"`") {
			t.Errorf("docs/api.md does not name %s", nsid)
		}
	}
}

// TestReadBadInput holds the errors of queries.
func TestReadBadInput(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	cursor := func(path string) string {
		var page struct{ Cursor string }
		got := l.do(call{verb: "GET", path: Prefix + path, cookie: l.cookie})
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || page.Cursor == "" {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		return url.QueryEscape(page.Cursor)
	}
	l.saidNow(alice, index.PostCollection, 20, map[string]any{"community": string(commons), "title": "more"})
	feeds := cursor("social.coves.feed.getDiscover?limit=1")
	nobody, post := "did:plc:nobodyaaaaaaaaaaaaaaaaaa", url.QueryEscape(string(l.post))
	tests := []struct {
		path, cookie string
		status       int
		name         string
	}{
		{"social.coves.feed.getTimeline", "", 401, "AuthRequired"},
		{"social.coves.feed.getTimeline?sort=best", l.cookie, 400, "InvalidRequest"},
		{"social.coves.feed.getAll?timeframe=decade", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=51", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=0", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=-1", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=99999999999999999999", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=1.5", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=many", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?limit=%D9%A3", "", 400, "InvalidRequest"}, // a digit, but no ASCII one
		{"social.coves.feed.getAll?limit=1;sort=new", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?sort=HOT", "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?cursor=" + strings.Repeat("x", 10_000), "", 400, "InvalidCursor"},
		{"social.coves.feed.getAll?cursor=%00%ff", "", 400, "InvalidCursor"},
		{"social.coves.feed.getAll?cursor=" + feeds[:len(feeds)-2] + "AA", "", 400, "InvalidCursor"},
		{"social.coves.feed.getAll?%zz", "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments?post=AT://" + nobody + "/social.coves.community.postv2/3mfyljlt3e223", "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments?post=at://" + nobody + "/app.bsky.feed.post/3mfyljlt3e223", "", 404, "RootNotFound"},
		{"social.coves.community.comment.getComments?post=at://" + nobody, "", 400, "InvalidRequest"},
		{"social.coves.feed.getAll?cursor=" + feeds, l.cookie, 400, "InvalidCursor"},
		{"social.coves.feed.getDiscover?cursor=" + feeds, "", 400, "InvalidCursor"},
		{"social.coves.feed.getDiscover?sort=top&cursor=" + feeds, l.cookie, 400, "InvalidCursor"},
		{"social.coves.communityFeed.getCommunity", "", 400, "InvalidRequest"},
		{"social.coves.communityFeed.getCommunity?community=nowhere.example.com", "", 404, "CommunityNotFound"},
		{"social.coves.communityFeed.getCommunity?community=" + nobody, "", 404, "CommunityNotFound"},
		{"social.coves.communityFeed.getCommunity?community=https://example.com", "", 400, "InvalidRequest"},
		{"social.coves.community.get?community=" + nobody, "", 404, "CommunityNotFound"},
		{"social.coves.community.get?community=" + string(alice), "", 404, "CommunityNotFound"},
		{"social.coves.community.list?sort=best", "", 400, "InvalidRequest"},
		{"social.coves.community.list?visibility=unlisted", "", 400, "InvalidRequest"},
		{"social.coves.community.list?visibility=secret", "", 400, "InvalidRequest"},
		{"social.coves.community.list?subscribed=true", "", 401, "AuthRequired"},
		{"social.coves.community.list?subscribed=maybe", l.cookie, 400, "InvalidRequest"},
		{"social.coves.community.list?cursor=" + feeds, l.cookie, 400, "InvalidCursor"},
		{"social.coves.community.search", "", 400, "InvalidRequest"},
		{"social.coves.community.search?q=+", "", 400, "InvalidRequest"},
		{"social.coves.community.search?q=" + strings.Repeat("x", 300), "", 400, "InvalidRequest"},
		{"social.coves.actor.getProfile", "", 400, "InvalidRequest"},
		{"social.coves.actor.getProfile?actor=" + nobody, "", 404, "ProfileNotFound"},
		{"social.coves.actor.getProfile?actor=nobody.example.com", "", 404, "ProfileNotFound"},
		{"social.coves.actor.getPosts?actor=" + nobody, "", 404, "ProfileNotFound"},
		{"social.coves.actor.getPosts?limit=101&actor=" + string(alice), "", 400, "InvalidRequest"},
		{"social.coves.actor.getComments?actor=" + string(bob) + "&cursor=" + feeds, l.cookie, 400, "InvalidCursor"},
		{"social.coves.actor.getPosts?actor=" + string(alice) + "&community=nowhere.example.com", "", 404, "CommunityNotFound"},
		{"social.coves.community.post.get", "", 400, "InvalidRequest"},
		{"social.coves.community.post.get?uris=nonsense", "", 400, "InvalidRequest"},
		{"social.coves.community.post.get?uris=" + strings.Repeat(post+"&uris=", 26) + post, "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments", "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments?post=at://" + nobody + "/social.coves.community.postv2/3mfyljlt3e223", "", 404, "RootNotFound"},
		{"social.coves.community.comment.getComments?parentRkey=3mfyljlt3e223&post=" + post, "", 404, "ParentNotFound"},
		{"social.coves.community.comment.getComments?depth=101&post=" + post, "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments?depth=-1&post=" + post, "", 400, "InvalidRequest"},
		{"social.coves.community.comment.getComments?cursor=x&post=" + post, "", 400, "InvalidCursor"},
	}
	for _, tt := range tests {
		if got := l.do(call{verb: "GET", path: Prefix + tt.path, cookie: tt.cookie}); got.status != tt.status || got.Error != tt.name {
			t.Errorf("%s: %d %s, want %d %s", tt.path, got.status, got.Error, tt.status, tt.name)
		}
	}
}

// TestReadingDetails holds what the shapes of answers cannot: how the caller
// stands to things, quotes, the older form of URIs, and caching.
func TestReadingDetails(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	l.apply(carol, index.VoteCollection, tidOf(11), map[string]any{"subject": l.postRef, "direction": "up", "createdAt": "2026-01-02T03:04:05Z"})
	get := func(path, cookie string) answer { return l.do(call{verb: "GET", path: Prefix + path, cookie: cookie}) }
	legacy := "at://" + string(commons) + "/social.coves.community.post/" + string(l.post.RecordKey())
	mine := get("social.coves.community.post.get?uris="+url.QueryEscape(legacy), l.cookie)
	for _, want := range []string{`"vote":"up","voteUri":"at://` + string(carol), `"saved":false`, `"subscribed":true`, `"uri":"` + string(l.post) + `"`, `"score":1`} {
		if !strings.Contains(mine.body, want) {
			t.Errorf("carol's view lacks %s: %s", want, mine.body)
		}
	}
	if quote := get("social.coves.community.post.get?uris="+url.QueryEscape(l.quote), "").body; !strings.Contains(quote, `"$type":"social.coves.embed.post#view"`) ||
		!strings.Contains(quote, `"resolved":{"uri":"`+string(l.post)) || strings.Contains(quote, `"viewer"`) {
		t.Errorf("the quote: %s", quote)
	}
	community := get("social.coves.community.get?community="+string(commons), l.cookie).body
	if !strings.Contains(community, `"viewer":{"subscribed":true,"member":true,"contentVisibility":3}`) || !strings.Contains(community, `"subscriberCount":1`) {
		t.Errorf("the community: %s", community)
	}
	l.seesPictures(get)
	path := "social.coves.feed.getDiscover"
	first := get(path, "")
	again := l.do(call{verb: "GET", path: Prefix + path, headers: []string{"If-None-Match", first.header.Get("ETag")}})
	if first.header.Get("Cache-Control") != "public, max-age=2" || again.status != 304 || again.body != "" {
		t.Errorf("for visitors: %v; again: %d %s", first.header, again.status, again.body)
	}
	if got := get(path, l.cookie).header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("for members: Cache-Control %q", got)
	}
}

// seesPictures holds that what is in a repository becomes addresses here.
func (l *library) seesPictures(get func(path, cookie string) answer) {
	l.t.Helper()
	raw := must(cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum([]byte("a picture")))(l.t)
	picture := func() atdata.Blob { return atdata.Blob{Ref: atdata.CIDLink(raw), MimeType: "image/png", Size: 9} }
	shown, _ := l.saidNow(alice, index.PostCollection, 30, map[string]any{"community": string(commons), "title": "pictures",
		"embed": map[string]any{"$type": "social.coves.embed.images", "images": []any{map[string]any{"image": picture(), "alt": "a cove",
			"aspectRatio": map[string]any{"width": int64(4), "height": int64(3)}}}}})
	linked, _ := l.saidNow(alice, index.PostCollection, 31, map[string]any{"community": string(commons), "title": "a link",
		"embed": map[string]any{"$type": "social.coves.embed.external", "external": map[string]any{"uri": "https://example.com", "thumb": picture()}}})
	got := get("social.coves.community.post.get?uris="+url.QueryEscape(shown)+"&uris="+url.QueryEscape(linked), "")
	at := "/plain/" + string(alice) + "/" + raw.String() + `"`
	for _, want := range []string{`"$type":"social.coves.embed.images#view"`, `"image":"` + origin + "/img/content_full" + at,
		`"thumb":"` + origin + "/img/content_preview" + at, `"alt":"a cove"`, `"aspectRatio":{"height":3,"width":4}`,
		`"thumb":"` + origin + "/img/embed_thumbnail" + at} {
		if !strings.Contains(got.body, want) {
			l.t.Errorf("the pictures lack %s: %s", want, got.body)
		}
	}
}
