package web

import (
	"strconv"
	"strings"
	"time"
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
		{"home_member", "home_show", page{Path: "/", Viewer: &alice}},
		{"discover", "discover_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Viewer: &alice, Data: sampleDiscover()}},
		{"discover_anonymous", "discover_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: discoverPage{Posts: sampleDiscover().Posts[:1]}}},
		{"discover_quiet", "discover_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: discoverPage{Listening: true}}},
		{"discover_no_source", "discover_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: discoverPage{}}},
		{"discover_end", "discover_show", page{Title: "Discover", Path: "/discover", Back: "/discover", Data: discoverPage{Paged: true}}},
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

func sampleDiscover() discoverPage {
	text := sampleText
	facets := "[" + strings.Join([]string{
		sampleFacet(text, "The tide tables for spring are up.", `heading","level":2`), sampleFacet(text, "Bring boots", `bold"`),
		sampleFacet(text, "Read them", `link","uri":"https://tides.example.com/spring?a=1&b=2"`),
	}, ",") + "]"
	form := newPostForm(&alice, "3lk2aaaaaaa2a", "", "", "")
	form.Community.Options = []string{"commons.one.test", unnamed.DID}
	return discoverPage{
		Listening: true, Form: form,
		Older: "/discover?cursor=abc",
		Posts: []postItem{
			{Anchor: "a1", Community: commons, Author: alice, When: sampleMoment(20 * time.Second), Title: "Spring tides", Text: richText(text, parseFacets([]byte(facets), text))},
			{Anchor: "a2", Community: commons, Author: bob, When: sampleMoment(3 * time.Minute), Title: "Who has the key to the boat shed?",
				Text: richText("I left it on the hook on Sunday. It is not on the hook.", nil), State: postState{Class: "waiting", Words: "Not admitted by the community yet"}},
			{Anchor: "a3", Community: commons, Author: wordy, When: sampleMoment(5 * time.Hour), Title: strings.Repeat("unbroken", 30), Text: richText(strings.Repeat("w", 400), nil)},
			{Anchor: "a4", Community: unnamed, Author: unnamed, When: sampleMoment(9 * 24 * time.Hour), Text: sampleForms(), State: postState{Class: "refused", Words: "Removed by the community"}},
			{Anchor: "a5", Community: commons, Author: bob, When: sampleMoment(90 * 24 * time.Hour), Title: "سؤال عن القارب 🚣", Text: richText("هل القارب جاهز؟ (boat 7)", nil)},
		},
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
	f.Trouble = "One field needs another look."
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
		PDS: "https://pds.one.test", SignedIn: sampleMoment(26 * time.Hour), Delegation: true,
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
	ends := sampleMoment(-30 * 24 * time.Hour)
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

func sampleChoice() choicePage {
	return choicePage{
		Before: &alice, Action: "/posts", Verb: "Post", Back: "/discover",
		Choices: []choice{{Account: alice, Switch: true}, {Account: bob}},
		Fields:  []hidden{{"title", `A "title"`}, {"text", "two\nlines"}},
	}
}
