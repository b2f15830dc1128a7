package web

import (
	"strconv"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/post"
)

// sampleNow is the moment at which sample pages are looked at.
var sampleNow = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func sampleMoment(ago time.Duration) moment { return momentOf(sampleNow.Add(-ago), sampleNow) }

var (
	alice   = person{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Handle: "alice.one.test"}
	bob     = person{DID: "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", Handle: "bob.two.test"}
	commons = person{DID: "did:plc:cccccccccccccccccccccccc", Handle: "commons.one.test"}
	unnamed = person{DID: "did:web:" + strings.Repeat("a-very-long-name.", 10) + "example"}
	wordy   = person{DID: "did:plc:dddddddddddddddddddddddd", Handle: strings.Repeat("long", 12) + "." + strings.Repeat("handle", 9) + ".example.com"}
)

const sampleText = "The tide tables for spring are up.\n\nBring boots, the causeway floods at seven.\n\nRead them first, then come."

// samplePage is one page with data of every shape it can show.
type samplePage struct {
	name     string // of the golden file
	template string
	page     page
}

func samplePages() []samplePage {
	return []samplePage{
		{"home_anonymous", "home_show", page{Path: "/"}},
		{"feed", "feed_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Viewer: &alice, Data: sampleFeed()}},
		{"feed_anonymous", "feed_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: feedPage{Heading: "Discover", List: listItem{Posts: samplePosts("")[:1]}}}},
		{"feed_quiet", "feed_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: feedPage{Heading: "Discover",
			List: listItem{Empty: (&Server{cfg: Config{Listening: true}}).emptyEverywhere()}}}},
		{"feed_no_source", "feed_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: feedPage{Heading: "Discover",
			List: listItem{Empty: (&Server{}).emptyEverywhere()}}}},
		{"feed_end", "feed_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: feedPage{Heading: "Discover", Other: &link{URL: "/all", Text: "All"}, List: listItem{Paged: true, Begin: "/discover"}}}},
		{"feed_welcome", "feed_show", page{Path: "/", Viewer: &alice, Data: feedPage{Heading: "Home", Newcomer: true, Welcome: sampleSuggestions(), Form: newPostForm(&alice, "3lk2aaaaaaa2a", "", "", "")}}},
		{"feed_first", "feed_show", page{Path: "/", Viewer: &alice, Data: feedPage{Heading: "Home", Newcomer: true, Form: newPostForm(&alice, "3lk2aaaaaaa2a", "", "", "")}}},
		{"post_show", "post_show", page{Title: "Spring tides", Path: "/p/x/y", Back: "/p/x/y", Viewer: &alice, Data: sampleThread(&alice)}},
		{"post_show_anonymous", "post_show", page{Title: "Spring tides", Path: "/p/x/y", Back: "/p/x/y", Data: sampleThread(nil)}},
		{"post_edit", "post_edit", page{Title: "Edit a post", Path: "/p/x/y/edit", Viewer: &alice, Data: sampleEdit()}},
		{"post_delete", "post_delete", page{Title: "Delete this post?", Path: "/p/x/y/delete", Viewer: &alice, Data: deletePage{
			Heading: "Delete this post?", Words: "It disappears.", Excerpt: "Spring tides", Acting: alice.DID, Action: "/p/x/y/delete", Back: "/p/x/y"}}},
		{"comment_create", "comment_create", page{Title: "Answer", Path: "/comments", Viewer: &alice, Data: replyPage{Back: "/p/x/y", Reply: replyForm{
			ID: "again", Label: "Your answer", Name: "@alice.one.test", Acting: alice.DID, Key: "k", Root: "at://r", RootCID: "c", Parent: "at://p", ParentCID: "d",
			Value: "typed", setback: setback{Undone: "Not said yet.", Trouble: "Sign in again.", SignIn: "/sign-in?handle=x"}}}}},
		{"community", "community_show", page{Title: "The Commons", Path: "/c/commons", Back: "/c/commons", Viewer: &alice, Data: sampleCommunity()}},
		{"communities", "community_list", page{Title: "Communities", Path: "/communities", Back: "/communities", Viewer: &alice, Data: communitiesPage{
			Search: field{Name: "q", Label: "Search communities"}, Items: sampleSuggestions(), More: "/communities?cursor=x",
			Sorts: []tab{{URL: "/communities?sort=popular", Label: "Most followed", Current: true}, {URL: "/communities?sort=new", Label: "Newest"}}}}},
		{"member", "member_show", page{Title: "Bob", Path: "/u/bob.two.test", Back: "/u/bob.two.test", Viewer: &alice, Data: sampleMember("Posts", false)}},
		{"member_comments", "member_show", page{Title: "Bob", Path: "/u/bob.two.test/comments", Viewer: &bob, Data: sampleMember("Comments", true)}},
		{"communities_none", "community_list", page{Title: "Communities", Path: "/communities", Data: communitiesPage{Search: field{Name: "q", Label: "Search communities"}, Query: "reef"}}},
		{"profile_edit", "profile_edit", page{Title: "Your profile", Path: "/account/profile", Viewer: &alice, Data: newProfilePage(alice.DID, "Alice", "I fish.")}},
		{"community_new", "community_edit", page{Title: "Create a community", Path: "/communities", Viewer: &alice, Data: sampleCommunityForm()}},
		{"community_off", "community_edit", page{Title: "Create a community", Path: "/communities/new", Viewer: &alice, Data: communityForm{New: true, Acting: alice.DID, Off: "Not here."}}},
		{"community_new_anonymous", "community_edit", page{Title: "Create a community", Path: "/communities/new", Back: "/communities/new", Data: communityForm{New: true}}},
		{"community_edit", "community_edit", page{Title: "Edit The Commons", Path: "/c/commons/edit", Viewer: &alice, Data: sampleCommunityEdit()}},
		{"review", "community_review", page{Title: "Look after The Commons", Path: "/c/commons/review", Viewer: &alice, Data: sampleReview()}},
		{"review_none", "community_review", page{Title: "Look after The Commons", Path: "/c/commons/review", Viewer: &alice, Data: reviewPage{Label: "The Commons", Acting: alice.DID, Action: "/c/commons/review", PolicyAction: "/c/commons/policy", Back: "/c/commons"}}},
		{"blocks", "block_list", page{Title: "Whom you block", Path: "/account/blocks", Viewer: &alice, Data: blocksPage{
			Tabs: []tab{{URL: "/account/blocks", Label: "Members", Current: true}}, More: "/account/blocks?cursor=x",
			Items: []blockedItem{{party: sampleParty(bob, "/u/"), Block: blockItem{Acting: alice.DID, DID: bob.DID, Back: "/account/blocks", Kind: "member", Blocked: true}}}}}},
		{"post_form", "post_create", page{Title: "Write a post", Path: "/posts/new", Back: "/posts/new", Viewer: &alice, Data: newPostForm(&alice, "3lk2aaaaaaa2a", "commons.one.test", "", "")}},
		{"post_form_wrong", "post_create", page{Title: "Write a post", Path: "/posts/new", Back: "/posts/new", Viewer: &alice, Data: sampleWrongPost()}},
		{"post_form_anonymous", "post_create", page{Title: "Write a post", Path: "/posts/new", Back: "/posts/new", Data: newPostForm(nil, "", "", "", "")}},
		{"signin", "signin_show", page{Title: "Sign in", Path: "/sign-in", Quiet: true, Data: newSignInPage("", "")}},
		{"signin_wrong", "signin_show", page{Title: "Sign in", Path: "/sign-in", Quiet: true, Notice: declinedNotice, Data: sampleWrongSignIn()}},
		{"account", "account_show", page{Title: "Your account", Path: "/account", Viewer: &alice, Data: sampleAccount()}},
		{"delegation", "delegation_show", page{Title: "How Atoll writes for you", Path: "/account/delegation", Viewer: &alice, Data: sampleDelegation()}},
		{"account_choose", "account_choose", page{Title: "Who is doing this?", Path: "/posts", Viewer: &bob, Data: sampleChoice()}},
		{"account_choose_gone", "account_choose", page{Title: "Who is doing this?", Path: "/posts", Viewer: &wordy, Data: choicePage{
			Before: &unnamed, Gone: &unnamed, Action: "/posts", Verb: "Post", Back: "/discover", Choices: []choice{{Account: wordy}}}}},
		{"app_approve", "app_approve", page{Title: "Sign an app in?", Path: "/app/LOGIN/approve", Quiet: true, Data: sampleServer().newAppPage(sampleRequest(), triesLeft(2))}},
		{"app_end", "app_end", page{Title: appDone.Heading, Path: "/app/LOGIN/approve", Quiet: true, Data: appDone}},
		{"fault_not_found", "fault_show", page{Title: "Not found", Path: "/nowhere", Data: faultPage{Heading: "Nothing at this position", What: errNoPage.Public,
			Status: 404, RequestID: "01hx2y", Links: []link{{URL: "/", Text: "Home"}, {URL: "/discover", Text: "Discover", Plain: true}}}}},
	}
}

// sampleServer knows the time, and nothing else.
func sampleServer() *Server { return &Server{now: func() time.Time { return sampleNow }} }

// sampleParty is somebody under a path, with a picture if they are alice.
func sampleParty(who person, path string) party {
	p := party{DID: who.DID, Label: who.Name(), Called: who.Name(), URL: path + who.DID}
	if who == alice {
		p.Avatar = "/img/avatar_small/plain/x/y"
	}
	return p
}

func sampleFeed() feedPage {
	form := newPostForm(&alice, "3lk2aaaaaaa2a", "", "", "")
	form.Community.Options = []string{"commons.one.test", unnamed.DID}
	return feedPage{
		Heading: "Discover", Lead: "Everything.", Form: form,
		Followed: []communityLine{{sampleParty(commons, "/c/"), "3 subscribers, 1 post"}, {sampleParty(wordy, "/c/"), "1 subscriber, 0 posts"}},
		List: listItem{
			Posts: samplePosts(alice.DID), More: "/discover?cursor=abc",
			Sorts:  []tab{{URL: "/discover?sort=hot", Label: "Hot"}, {URL: "/discover?sort=top", Label: "Top", Current: true}},
			Frames: []tab{{URL: "/discover?sort=top&t=day", Label: "Day", Current: true}},
		},
	}
}

// samplePosts are posts of every shape, with votes by acting.
func samplePosts(acting string) []postItem {
	text := sampleText
	facets := "[" + strings.Join([]string{
		sampleFacet(text, "The tide tables for spring are up.", `heading","level":2`), sampleFacet(text, "Bring boots", `bold"`),
		sampleFacet(text, "Read them", `link","uri":"https://tides.example.com/spring?a=1&b=2"`),
	}, ",") + "]"
	in, by := sampleParty(commons, "/c/"), func(p person) party { return sampleParty(p, "/u/") }
	votes := func(mine string) votesItem {
		return votesItem{Acting: acting, URI: "at://a/b/c", CID: "bafy", Back: "/discover#a", What: "a post", Mine: mine, Score: 12}
	}
	return []postItem{
		{Anchor: "a1", URL: "/p/a/1", Community: in, Author: by(alice), When: sampleMoment(20 * time.Second), Title: "Spring tides", Votes: votes("up"), Mine: true,
			Text: richText(text, parseFacets([]byte(facets), text)), Clipped: true, Comments: 3, Tags: []string{"tides"}},
		{Anchor: "a2", URL: "/p/a/2", Community: in, Author: by(bob), When: sampleMoment(3 * time.Minute), Title: "Who has the key to the boat shed?", Votes: votes("down"),
			Text:  richText("I left it on the hook on Sunday. It is not on the hook.", nil),
			Embed: embedItem{Images: []imageItem{{Preview: "/img/p", Full: "/img/f", Alt: "A hook", Width: 800, Height: 600}, {Preview: "/img/q", Full: "/img/g"}}},
			State: postState{Class: "waiting", Words: "Not admitted by the community yet"}},
		{Anchor: "a3", URL: "/p/a/3", Community: in, Author: by(wordy), When: sampleMoment(5 * time.Hour), Title: strings.Repeat("unbroken", 30), Votes: votes(""),
			Text: richText(strings.Repeat("w", 400), nil), Warning: "for adults, spoilers",
			Embed: embedItem{Link: &linkItem{URL: "https://tides.example.com/", Title: "Tides", Description: "Tables", Host: "tides.example.com", Picture: "/img/t"}}},
		{Anchor: "a4", URL: "/p/a/4", Community: sampleParty(unnamed, "/c/"), Author: by(unnamed), When: sampleMoment(9 * 24 * time.Hour), Edited: true, Votes: votes(""),
			Text: sampleForms(), State: postState{Class: "refused", Words: "Removed by the community"},
			Embed: embedItem{Quote: &quoteItem{URL: "/p/a/1", Title: "Spring tides", Text: "They are up", Author: by(alice)}}},
		{Anchor: "a5", URL: "/p/a/5", Community: in, Here: true, Author: by(bob), When: sampleMoment(90 * 24 * time.Hour), Title: "سؤال عن القارب 🚣", Votes: votes(""),
			Text: richText("هل القارب جاهز؟ (boat 7)", nil), Embed: embedItem{Quote: &quoteItem{Gone: "The quoted post is not to be seen here."}}},
	}
}

func sampleThread(viewer *person) threadPage {
	acting := ""
	if viewer != nil {
		acting = viewer.DID
	}
	one := post.Ref{URI: "at://a/b/c", CID: "bafy"}
	item := func(id string, by person, text string) commentItem {
		c := commentItem{Anchor: id, URL: "/p/a/1/c/x/" + id, Author: sampleParty(by, "/u/"), When: sampleMoment(time.Hour), ScoreWords: "1 point",
			Text: richText(text, nil), Votes: votesItem{Acting: acting, URI: "at://a/b/" + id, CID: "bafy", Back: "/p/a/1#" + id, What: text, Score: 1}}
		if viewer != nil {
			reply := newReply(viewer, one, one, id, "Your answer")
			reply.Key = "k"
			c.Reply = &reply
		}
		return c
	}
	first, second, third := item("c1", bob, "I have it."), item("c2", alice, "Thank you."), item("c3", wordy, strings.Repeat("long ", 50))
	second.ByPoster, second.Mine, second.Edited, second.Here = true, viewer != nil, true, true
	third.Folded, third.More = "Hidden on request", &link{URL: "/p/a/1/c/x/c3", Text: "Go on reading (4 answers)"}
	first.Inside = "3 answers"
	first.Replies = []commentItem{second, {Anchor: "c4", Gone: "A comment that was deleted.", Replies: []commentItem{third}}}
	page := threadPage{Post: samplePosts(acting)[0], Reply: newReply(viewer, one, one, "post", "Your answer to the post"), Comments: []commentItem{first},
		More: "/p/a/1?cursor=x", Sorts: []tab{{URL: "/p/a/1?sort=hot#comments", Label: "Hot", Current: true}}}
	if viewer != nil {
		page.Reply.Key = "k"
	}
	return page
}

func sampleEdit() editPage {
	return editPage{Heading: "Edit a post", setback: setback{Undone: nothingChanged, Trouble: "Too long."}, Acting: alice.DID, Action: "/p/x/y/edit", Back: "/p/x/y", Seen: "bafy", Was: "text", HasTitle: true,
		Title: field{Name: "title", Label: "Title", Value: "Spring tides"}, Text: field{Name: "content", Label: "Text", Value: "text", Rows: 12}}
}

func sampleCommunity() communityPage {
	founder := sampleParty(bob, "/u/")
	return communityPage{
		Community: communityItem{party: sampleParty(commons, "/c/"), Counts: "3 subscribers, 1 post", Banner: "/img/banner/x", Text: sampleForms(),
			Warnings: "nsfw", Since: sampleMoment(400 * 24 * time.Hour), Founder: &founder},
		Policy: "Everybody may post here.", MayEdit: true,
		Follow: followItem{Acting: alice.DID, DID: commons.DID, Back: "/c/commons", Level: 4},
		Block:  blockItem{Acting: alice.DID, DID: commons.DID, Back: "/c/commons", Kind: "community"},
		List:   listItem{Posts: samplePosts(alice.DID)[4:], Sorts: []tab{{URL: "/c/commons?sort=hot", Label: "Hot", Current: true}}},
		Form:   newPostForm(&alice, "3lk2aaaaaaa2a", "commons.one.test", "", ""),
	}
}

func sampleSuggestions() []suggestion {
	return []suggestion{
		{communityLine{sampleParty(commons, "/c/"), "3 subscribers, 1 post"}, followItem{Acting: alice.DID, DID: commons.DID, Back: "/"}},
		{communityLine{sampleParty(wordy, "/c/"), "1 subscriber, 0 posts"}, followItem{Acting: alice.DID, DID: wordy.DID, Back: "/", Level: 2}},
	}
}

// sampleFacet is a facet over the first place of part in text. feature is the
// end of its type and what follows it in JSON.
func sampleFacet(text, part, feature string) string {
	i := strings.Index(text, part)
	return `{"index":{"byteStart":` + strconv.Itoa(i) + `,"byteEnd":` + strconv.Itoa(i+len(part)) +
		`},"features":[{"$type":"social.coves.richtext.facet#` + feature + `}]}`
}

// sampleForms is a text with every feature.
func sampleForms() []block {
	text := "A quote\nof two lines\n\nbold italic struck code @bob hidden bank.example\n\nfor i := range 3 {\n\tgo()\n}"
	one := func(part, feature string) string { return sampleFacet(text, part, feature) }
	facets := "[" + strings.Join([]string{
		one("A quote\nof two lines", `blockquote"`), one("bold", `bold"`), one("italic", `italic"`), one("struck", `strikethrough"`),
		one("code", `code"`), one("@bob", `mention","did":"did:plc:bbb"`), one("hidden", `spoiler","reason":"the ending"`),
		one("bank.example", `link","uri":"https://evil.example/login"`), one("for i := range 3 {\n\tgo()\n}", `codeBlock","language":"go"`),
	}, ",") + "]"
	return richText(text, parseFacets([]byte(facets), text))
}

func sampleWrongPost() postForm {
	f := newPostForm(&alice, "3lk2aaaaaaa2a", "no such place", "A title", "Text that was typed.\nIt comes back.")
	f.setback = setback{Undone: notPosted, Trouble: "One field needs another look."}
	f.Community.Wrong = "That is not a handle or DID. A community’s handle looks like commons.example.com."
	f.Community.Focus = true
	return f
}

func sampleWrongSignIn() signInPage {
	p := newSignInPage("alice.local", "/posts/new")
	p.Account.Wrong = "Handles that end in .local exist on one machine only and cannot be looked up. Use the full handle of your account."
	return p
}

func sampleAccount() accountPage {
	return accountPage{
		PDS: "https://pds.one.test", SignedIn: sampleMoment(26 * time.Hour), Delegation: true, Password: true,
		Permissions: []string{"Know who you are: your DID and handle", "Write, change and delete posts in your repository"},
		Scopes:      []string{"atproto", "repo:social.coves.community.postv2"},
		Devices: []deviceItem{
			{ID: "d1", Name: "Firefox on Linux", Here: true, SignedIn: sampleMoment(26 * time.Hour), Used: sampleMoment(0)},
			{ID: "d2", Name: "Safari on iPhone", Place: "192.0.2.0/24", Ended: true, SignedIn: sampleMoment(70 * 24 * time.Hour), Used: sampleMoment(49 * time.Hour)},
		},
		Apps: []appItem{
			{ID: "a1", Name: `Reader <b>"1"</b>`, Place: "198.51.100.0/24", SignedIn: sampleMoment(49 * time.Hour), Used: sampleMoment(time.Hour)},
			{ID: "a2", Name: "atoll on the command line", SignedIn: sampleMoment(26 * time.Hour), Used: sampleMoment(0)},
		},
		Accounts: []accountItem{{person: alice, Active: true}, {person: bob}, {person: wordy}},
	}
}

func sampleDelegation() delegationPage {
	ends := endOf(sampleNow.Add(30*24*time.Hour), sampleNow)
	return delegationPage{
		State: "Atoll writes for you by your app password.", PDS: "https://pds.one.test", Expires: &ends,
		SignIn: "/sign-in?handle=x", Trouble: "Your server does not answer. Please try again in a minute; nothing will be there twice.",
		Ways: []delegationWay{
			{Name: "Your sign-in", Why: "You are not signed in through your server."},
			{Name: "App password", Why: "You have given an app password, and your server takes it.", Open: true, InUse: true},
			{Name: "The instance’s own account", Why: "Only for invitations, in posts of the instance's own account that name you.", Open: true},
		},
		Password: passwordForm{Given: true, Wrong: "Your server does not take this app password. Make a new one there, and copy it whole."},
	}
}

func sampleReview() reviewPage {
	return reviewPage{Label: "The Commons", Acting: alice.DID, Action: "/c/commons/review", PolicyAction: "/c/commons/policy", Back: "/c/commons", More: true,
		MayRule: true, ReviewEdits: true, Codes: removalCodes, Policies: []option{{"open", "Everybody may post here.", true}, {"members", "Only members may post here.", false}},
		Waiting: []waitingItem{{Post: samplePosts(alice.DID)[0], URI: "at://p", Seen: "c", Why: "Waits for your approval."}, {Post: samplePosts(alice.DID)[1], URI: "at://q", Seen: "d", Why: "It was changed."}}}
}

func sampleMember(showing string, mine bool) memberPage {
	p := memberPage{
		Member:  memberItem{party: sampleParty(bob, "/u/"), Counts: "3 posts, 1 comment", Text: richText("I repair nets.", nil)},
		Showing: showing, Mine: mine, Tabs: []tab{{URL: "/u/bob.two.test", Label: "Posts", Current: !mine}, {URL: "/u/bob.two.test/comments", Label: "Comments", Current: mine}},
		Block: blockItem{Acting: alice.DID, DID: bob.DID, Back: "/u/bob.two.test", Kind: "member"},
	}
	if !mine {
		p.List = listItem{Posts: samplePosts(alice.DID)[:2], More: "/u/bob.two.test?cursor=x"}
		return p
	}
	p.More = "/u/bob.two.test/comments?cursor=x"
	p.Comments = []commentLine{{URL: "/p/x/y/c/z/k", PostURL: "/p/x/y", Post: "Spring tides", Beginning: "Come at low tide.", When: sampleMoment(time.Hour), Text: richText("Come at low tide.", nil), ScoreWords: "2 points"}}
	return p
}

func sampleCommunityForm() communityForm {
	f := newCommunityForm(alice.DID, communityText{Name: "Tide Pools", Visibility: "unlisted", ContentWarnings: []string{"spoilers"}}, "What the sea leaves.")
	f.New, f.Action, f.Key = true, "/communities", "3lk2aaaaaaa2a"
	f.setback = setback{Undone: nothingChanged, Trouble: "One field needs another look."}
	f.Name.Wrong, f.Avatar.Wrong = "A community's name has lower-case letters only.", "The picture is too large: 1 MB are allowed."
	return f
}

func sampleCommunityEdit() communityForm {
	f := newCommunityForm(alice.DID, communityText{DisplayName: "The Commons"}, "")
	f.editing(sampleParty(commons, "/c/"))
	return f
}

func sampleChoice() choicePage {
	return choicePage{
		Before: &alice, Action: "/posts", Verb: "Post", Back: "/discover",
		Choices: []choice{{Account: alice, Switch: true}, {Account: bob}},
		Fields:  []hidden{{"title", `A "title"`}, {"text", "two\nlines"}},
	}
}
