package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// Subscribing, choosing how much, and leaving; home follows.
func TestSubscribingWithASlider(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.member(t, alice)
	welcome := b.get("/").is(200, "Where to begin", "The Commons", "Subscribe")
	b.post("/subscriptions", with(welcome.fields("/subscriptions"), "level", "3")...).leads("/")
	b.get("/").is(200, "Your communities", "The Commons").lacks("Where to begin")
	page := b.get("/c/commons.one.test").is(200, `type="range"`, `value="3"`, levelWords[3], "What the five levels do", "Unsubscribe")
	b.post("/subscriptions", with(page.fields("/subscriptions"), "level", "5")...).leads("/c/commons.one.test")
	b.get("/c/commons.one.test").is(200, `value="5"`, levelWords[5])
	records := s.pds.in(alice, index.SubscriptionCollection)
	if len(records) != 1 || records[0]["contentVisibility"] != int64(5) || records[0]["subject"] != commons.DID {
		t.Errorf("subscriptions in the repository: %v, want one at level 5", records)
	}
	for _, level := range []string{"", "0", "6", "-1", "5.5", "many", "1e1"} {
		b.post("/subscriptions", with(page.fields("/subscriptions"), "level", level)...).is(400, "from 1 to 5")
	}
	b.post("/subscriptions", with(page.fields("/subscriptions"), "leave", "yes")...).leads("/c/commons.one.test")
	b.post("/subscriptions", with(page.fields("/subscriptions"), "leave", "yes")...).leads("/c/commons.one.test") // twice is no harm
	if n := len(s.pds.in(alice, index.SubscriptionCollection)); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
	b.get("/").is(200, "Where to begin")
	b.post("/subscriptions", with(page.fields("/subscriptions"), "level", "3", "community", "nobody.one.test")...).is(404, "no community")
	s.browser(t).get("/c/commons.one.test").is(200, "Sign in to subscribe").lacks(`action="/subscriptions"`)
}

func TestCommunitiesThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.browser(t)
	for path, status := range map[string]int{
		"/c/nobody.one.test": 404, "/c/not%20a%20handle": 400, "/c/" + bob.DID: 404, "/c/COMMONS.ONE.TEST": 200, "/c/" + commons.DID: 200, "/c/@commons.one.test": 200,
		"/c/commons.one.test?sort=odd": 400, "/c/commons.one.test?sort=top&t=decade": 400, "/c/commons.one.test?cursor=x": 400,
		"/communities?sort=odd": 400, "/communities?cursor=x": 400, "/communities?q=zzz": 200, "/communities?sort=alphabetical": 200,
		"/u/nobody.one.test": 404, "/u/ALICE.one.test": 200, "/u/" + alice.DID: 200, "/u/not%20a%20handle": 400, "/u/alice.one.test?cursor=x": 400,
		"/u/alice.one.test/comments": 200, "/u/alice.one.test/comments?cursor=x": 400, "/c/commons.one.test/edit": 401, "/communities/new": 200,
		"/all": 200, "/all?sort=top&t=hour": 200, "/discover?sort=odd": 400, "/account/profile": 401,
		"/img/avatar_small/plain/" + alice.DID + "/not-a-cid": 404, "/img/odd/plain/" + alice.DID + "/" + string(someCID): 404,
	} {
		if a := b.get(path); a.status != status {
			t.Errorf("GET %s: %d, want %d\n%s", path, a.status, status, a.match(`(?s)<main[^>]*>(.*)</main>`))
		}
	}
	b.get("/communities?q=Comm").is(200, "The Commons")
	b.get("/communities?q=zzz").is(200, "Nothing is called that")
}

func TestACommunityIsCreatedAndEdited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	form := with(b.get("/communities/new").is(200, "Create a community").fields("/communities"),
		"name", "reef", "display_name", "The Reef", "description", "For *divers*.", "warning-spoilers", "yes")
	picture := map[string][][]byte{"avatar": {pngFile(t, 64, 64)}}
	b.postFiles("/communities", picture, form...).leads("/c/reef.one.test")
	b.postFiles("/communities", picture, form...).leads("/c/reef.one.test") // sent twice
	asked := s.hosting.asks[0]
	if asked.Name != "reef" || asked.CreatedBy.String() != alice.DID {
		t.Errorf("asked for %+v", asked)
	}
	s.identify(t, reef)
	b.get("/c/reef.one.test").is(200, "The Reef", "<em>divers</em>", "spoilers", "Edit the community", "/img/avatar_small/plain/", "Everybody may post here.")

	edit := b.get("/c/reef.one.test/edit").is(200, "For *divers*.", "The Reef").fields("/c/reef.one.test/edit")
	b.post("/c/reef.one.test/edit", with(edit, "display_name", "Reef and Sand")...).leads("/c/reef.one.test")
	b.get("/c/reef.one.test").is(200, "Reef and Sand", "<em>divers</em>", "/img/avatar_small/plain/")
	is := s.pds.in(reef, index.CommunityCollection)[0]
	if is["displayName"] != "Reef and Sand" || is["description"] != "For divers." || is["avatar"] == nil || is["createdBy"] != alice.DID {
		t.Errorf("the record is %v", is)
	}

	other := s.member(t, bob)
	other.get("/c/reef.one.test/edit").is(200, "Only those who look after").lacks(`name="description"`)
	other.get("/c/reef.one.test").is(200).lacks("Edit the community")
	other.post("/c/reef.one.test/edit", with(edit, "acting", bob.DID, "display_name", "Mine now")...).is(403, "look after")
	b.get("/c/reef.one.test").is(200, "Reef and Sand")
}

// A founder subscribes with the same form, unless they take the tick away. Where
// their server does not take the subscription, the page says so.
func TestAFounderSubscribes(t *testing.T) {
	t.Parallel()
	away := &unfollowable{}
	s := newSite(t, func(c *Config) { away.Communities, c.Communities = c.Communities, away })
	b := s.member(t, alice)
	form := with(b.get("/communities/new").is(200, `name="follow" value="yes" checked`).fields("/communities"), "name", "reef")
	b.post("/communities", with(form, "follow", "")...).leads("/c/reef.one.test")
	if n := len(s.pds.in(alice, index.SubscriptionCollection)); n != 0 {
		t.Errorf("%d subscriptions without the tick", n)
	}
	s.identify(t, reef)
	away.err = fault.New(fault.Unavailable, "The server is away.")
	b.post("/communities", form...).leads("/c/reef.one.test?notice=founded")
	b.get("/c/reef.one.test?notice=founded").is(200, "not subscribed to it", "Subscribe</button>")
	away.err = nil
	b.post("/communities", form...).leads("/c/reef.one.test")
	b.get("/c/reef.one.test").is(200, "Unsubscribe", "1 subscriber,")
	b.get("/posts/new").is(200, `<option value="reef.one.test">`)
	wrong := with(form, "name", "Not a name")
	b.post("/communities", wrong...).is(400, `name="follow" value="yes" checked`)
	b.post("/communities", with(wrong, "follow", "")...).is(400).lacks(`value="yes" checked`) // as it was left
}

// unfollowable is communities that cannot be subscribed to while err is set.
type unfollowable struct {
	Communities
	err error
}

func (u *unfollowable) Subscribe(ctx context.Context, actor agent.Actor, text string, level *int) (community.Record, error) {
	if u.err != nil {
		return community.Record{}, u.err
	}
	return u.Communities.Subscribe(ctx, actor, text, level)
}

// identify makes the handle of an account known, as the network does.
func (s *site) identify(t *testing.T, who person) {
	t.Helper()
	s.apply(t, who, index.PersonBlockCollection, "3laaaaaaaaaaa", map[string]any{"subject": bob.DID, "createdAt": "2026-01-02T03:04:05Z"})
}

// What is wrong with a community stands beside its field, and what was typed
// stays.
func TestCommunityMistakes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	blank := with(b.get("/communities/new").fields("/communities"), "name", "reef", "display_name", "The Reef", "description", "Kept.")
	for name, c := range map[string]struct {
		change []string
		files  map[string][][]byte
		status int
		beside string
	}{
		"no name":            {[]string{"name", ""}, nil, 400, "name"},
		"capitals":           {[]string{"name", "Reef"}, nil, 400, "name"},
		"reserved":           {[]string{"name", "admin"}, nil, 400, "name"},
		"long title":         {[]string{"display_name", strings.Repeat("x", 129)}, nil, 400, "display_name"},
		"long description":   {[]string{"description", "Kept. " + strings.Repeat("x", 1000)}, nil, 400, "description"},
		"unknown visibility": {[]string{"visibility", "secret"}, nil, 400, ""},
		"no picture":         {nil, map[string][][]byte{"avatar": {[]byte("<svg onload=alert(1)>")}}, 400, "avatar"},
		"large picture":      {nil, map[string][][]byte{"banner": {noise(t, 900)}}, 400, "banner"},
	} {
		t.Run(name, func(t *testing.T) {
			a := (&browser{t: t, site: s, cookies: b.cookies}).postFiles("/communities", c.files, with(blank, c.change...)...)
			if a.status != c.status && a.status != http.StatusRequestEntityTooLarge {
				t.Fatalf("status %d, want %d\n%s", a.status, c.status, a.body)
			}
			a.is(a.status, "Kept.", "Nothing has changed.")
			if got := strings.Contains(a.body, `id="`+c.beside+`-wrong"`); got != (c.beside != "") {
				t.Errorf("no message beside the field %q:\n%s", c.beside, a.body)
			}
		})
	}
	if len(s.hosting.asks) > 0 {
		t.Errorf("%d accounts were made", len(s.hosting.asks))
	}
}

func TestWithoutHostingThePageSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.Communities = closed{c.Communities} })
	b := s.member(t, alice)
	b.get("/communities/new").is(200, "nowhere to keep them").lacks(`name="description"`)
	b.post("/communities", "acting", alice.DID, "name", "reef", "key", "k").is(403, "nowhere to keep them")
	s.browser(t).get("/communities/new").is(200, "nowhere to keep them")
}

// closed is an instance that hosts nothing.
type closed struct{ Communities }

var errNowhere = fault.New(fault.Forbidden, "This server has nowhere to keep them.").WithCode("CommunityCreationRestricted")

func (closed) Closed(syntax.DID) string { return errNowhere.Public }

func (closed) Create(context.Context, agent.Actor, community.CreateInput) (community.Created, error) {
	return community.Created{}, errNowhere
}

// Pages of a member: what they wrote, and what they say of themselves.
func TestMemberPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	page := b.writes(alice, "Low water")
	b.answers(page, "", "And **high** water later.")
	b.get("/account").is(200, "Edit your profile", "Whom you block")
	form := b.get("/account/profile").is(200).fields("/account/profile")
	b.postFiles("/account/profile", map[string][][]byte{"avatar": {pngFile(t, 32, 32)}}, with(form, "display_name", "Alice Waters", "bio", "I fish.")...).leads("/u/" + alice.DID)
	mine := b.get("/u/alice.one.test").is(200, "Alice Waters", "I fish.", "Low water", "Edit your profile", "/img/avatar_small/plain/", "1 post, 1 comment")
	mine.lacks(`action="/blocks"`)
	s.member(t, bob).get("/u/"+alice.DID+"/comments").is(200, "<strong>high</strong>", page+"/c/", "Block</button>")
	b.post("/account/profile", with(form, "display_name", strings.Repeat("x", 65))...).is(400, "display_name-wrong", "There are 65 now")
	b.post("/account/profile", with(form, "bio", strings.Repeat("x", 257))...).is(400, "bio-wrong", "There are 257 now")
	b.postFiles("/account/profile", map[string][][]byte{"avatar": {[]byte("no picture")}}, form...).is(400, "avatar-wrong")
	if diff := cmp.Diff(1, len(s.pds.files)); diff != "" {
		t.Errorf("stored files (-want +got):\n%s", diff)
	}
}

// Those who look after a community see what waits and decide; nobody else does.
func TestLookingAfterACommunity(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, other := s.member(t, alice), s.member(t, bob)
	b.post("/communities", with(b.get("/communities/new").fields("/communities"), "name", "reef")...).is(303)
	s.identify(t, reef)
	const review, policy = "/c/reef.one.test/review", "/c/reef.one.test/policy"
	rules := b.get(review).is(200, "Nothing waits.", "Everybody may post here.").fields(policy)
	b.post(policy, with(rules, "admission", "approval", "review_edits", "yes")...).leads(review)
	b.get("/c/reef.one.test").is(200, "when a moderator has approved", "has to be approved again", "Look after it")
	b.post(policy, with(rules, "admission", "nobody")...).is(400, "open, members or approval")

	other.get("/c/reef.one.test").is(200).lacks("Look after it")
	other.get(review).is(403, "look after")
	other.post(policy, with(rules, "acting", bob.DID)...).is(403, "look after")
	s.browser(t).get(review).is(401)
	s.browser(t).post(policy, rules...).is(401)

	other.post("/posts", "acting", bob.DID, "key", "k", "community", reef.DID, "title", "From outside", "content", "May I?").is(303)
	uri := s.uriOf(bob)
	decide := []string{"acting", alice.DID, "post", uri, "seen", s.pds.cidOf(t, uri)}
	for name, wrong := range map[string][]string{
		"nothing to do": {}, "another word": {"do", "ignore"}, "no reason": {"do", "remove"}, "no post": {"post", "x", "do", "approve"},
		"long reason": {"do", "remove", "code", "spam", "reason", strings.Repeat("x", 1001)},
	} {
		if a := b.post(review, with(decide, wrong...)...); a.status != 400 {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	b.post(review, with(decide, "do", "approve", "seen", string(someCID))...).is(409, "has changed")
	b.post(review, with(decide, "do", "approve", "post", strings.Replace(uri, bob.DID, alice.DID, 1))...).is(404)
	other.post(review, with(decide, "do", "approve", "acting", bob.DID)...).is(403)
	b.post(review, with(decide, "do", "approve")...).leads(review)
	b.post(review, with(decide, "do", "remove", "code", "spam", "reason", "Not here.")...).leads(review)
}

// uriOf is the only post of somebody.
func (s *site) uriOf(who person) string {
	s.pds.mu.Lock()
	defer s.pds.mu.Unlock()
	for at := range s.pds.records {
		if at.Repo.String() == who.DID && at.Collection == index.PostCollection {
			return at.URI().String()
		}
	}
	return ""
}

// Discover and All lead to each other, for members.
func TestDiscoverAndAll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	b.get("/discover").is(200, `<a href="/all">`)
	b.get("/all").is(200, `<p class="small"><a href="/discover">`)
	s.browser(t).get("/discover").is(200).lacks(`href="/all"`)
}
