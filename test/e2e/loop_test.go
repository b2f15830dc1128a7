package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/network"
)

const postCollection = "social.coves.community.postv2"

// community makes an account that posts can name, with a profile record.
func community(t *testing.T, n *network.Network) network.Account {
	t.Helper()
	return communityOf(t, n, "public")
}

// secluded is a community on no list: many posts in it push nobody else's off the
// pages that other tests look at.
func secluded(t *testing.T, n *network.Network) network.Account {
	t.Helper()
	return communityOf(t, n, "unlisted")
}

func communityOf(t *testing.T, n *network.Network, visibility string) network.Account {
	t.Helper()
	account, err := n.CreateAccount(t.Context(), 0, network.Name("commons"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := n.SignInWithPassword(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.PutRecord(t.Context(), "social.coves.community.profile", "self", map[string]any{
		"name": "commons", "createdBy": account.DID, "hostedBy": "did:web:" + communityHost(n), "createdAt": now(), "visibility": visibility,
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// communityHost is the host, under the domain of its handle, that community
// says it is hosted at.
func communityHost(n *network.Network) string { return "groups" + n.PDS[0].HandleDomain }

// serveHost plays a server that says of itself that it is host.
func serveHost(t *testing.T, host string) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host || r.URL.Path != "/.well-known/did.json" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"id":"did:web:%s","alsoKnownAs":["at://%[1]s"]}`, host)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// discover returns the URIs on the first page of Discover with this title, and
// the same of the API.
func discover(t *testing.T, b *browser, title string) (onPage int, uris []string) {
	t.Helper()
	onPage = strings.Count(b.get("/discover?sort=new").body, title)
	a := b.get("/xrpc/social.coves.feed.getDiscover?limit=50")
	var out struct {
		Feed []struct {
			Post struct {
				URI    string
				Record struct{ Title string }
			}
		}
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("getDiscover: %d %s: %v", a.status, a.body, err)
	}
	for _, item := range out.Feed {
		if item.Post.Record.Title == title {
			uris = append(uris, item.Post.URI)
		}
	}
	return onPage, uris
}

// eventually asks until ok, and reports how long it took, which is for bench to
// judge.
func eventually(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
		<-tick.C
	}
	return time.Since(began)
}

// TestAPostIsThereAtOnceAndOnce: written by the form into the member's own
// repository, on the page with the answer, still one when the copy arrives from
// the stream, and after a restart.
func TestAPostIsThereAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 1)
	b := inst.browser()
	b.signIn(member)
	title := "a lagoon at dusk " + network.Name("x")
	form := formOf(t, b.get("/discover"), "/posts", nil)
	form.Set("community", commons.Handle)
	form.Set("title", title)
	form.Set("content", "The herons have come back.")
	for range 2 { // sent twice, as by a second click
		if a := b.post("/posts", form); a.status != http.StatusSeeOther {
			t.Fatalf("post: %d\n%s", a.status, a.body)
		}
	}
	once := func(when string) string {
		t.Helper()
		_, uris := discover(t, b, title)
		if len(uris) != 1 {
			t.Fatalf("%s: on Discover %d times (%v), want once", when, len(uris), uris)
		}
		return uris[0]
	}
	uri := once("with the answer")
	if !strings.HasPrefix(uri, "at://"+member.DID+"/"+postCollection+"/") {
		t.Errorf("the post is %s, want it in the member's own repository", uri)
	}
	awaitStream(t, inst, member, commons)
	once("after the copy from the stream")
	inst.restart()
	once("after a restart")
	inst.kill()
	inst.launch()
	once("after kill -9")
	if status, did, _ := b.me(); status != http.StatusOK || did != member.DID {
		t.Errorf("after restarts: /api/me %d %s, want still signed in", status, did)
	}
}

// awaitStream writes another record to the member's repository directly and
// waits for it: whatever the stream held before has then been applied.
func awaitStream(t *testing.T, inst *instance, member, commons network.Account) {
	t.Helper()
	title := "mark " + network.Name("x")
	writeDirectly(t, inst.network, member, commons, title)
	b := inst.browser()
	eventually(t, "a record written directly", func() bool {
		_, uris := discover(t, b, title)
		return len(uris) == 1
	})
}

func writeDirectly(t *testing.T, n *network.Network, author, commons network.Account, title string) network.Record {
	t.Helper()
	client, err := n.SignInWithPassword(t.Context(), author)
	if err != nil {
		t.Fatal(err)
	}
	record, err := client.CreateRecord(t.Context(), postCollection, "", map[string]any{
		"community": commons.DID, "title": title, "content": "written by another client", "createdAt": now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// TestAPostOfAnotherClientAppears: from either PDS, by an author whom the instance
// has never seen.
func TestAPostOfAnotherClientAppears(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	awaitStream(t, inst, inst.network.NewAccount(t, 0), commons) // the streams have caught up
	b := inst.browser()
	for pds := range inst.network.PDS {
		author := inst.network.NewAccount(t, pds)
		title := "from elsewhere " + network.Name("x")
		record := writeDirectly(t, inst.network, author, commons, title)
		took := eventually(t, "a post of another client", func() bool {
			_, uris := discover(t, b, title)
			return len(uris) == 1 && uris[0] == record.URI
		})
		t.Logf("a post written to PDS %d took %s to appear", pds, took)
		eventually(t, "the author's handle", func() bool {
			return strings.Contains(b.get("/discover?sort=new").body, author.Handle)
		})
	}
}

// TestPostingByTheAPI: the member's app in the browser, and the errors of the
// method's own names.
func TestPostingByTheAPI(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(member)
	call := func(body string, header map[string]string) answer {
		if header == nil {
			header = map[string]string{"Origin": inst.origin(), "Sec-Fetch-Site": "same-origin"}
		}
		header["Content-Type"] = "application/json"
		header["Atoll-Acting-DID"] = member.DID
		return b.do(http.MethodPost, "/xrpc/social.coves.community.post.create", strings.NewReader(body), header)
	}
	title := "by the API " + network.Name("x")
	input := `{"community":"` + commons.DID + `","title":"` + title + `","content":"hello"}`
	same := map[string]string{"Origin": inst.origin(), "Sec-Fetch-Site": "same-origin", "Idempotency-Key": "key-1"}
	first, second := call(input, same), call(input, same)
	if first.status != http.StatusOK || first.body != second.body {
		t.Errorf("create with one Idempotency-Key twice: %d %s, then %d %s; want the same post", first.status, first.body, second.status, second.body)
	}
	if _, uris := discover(t, b, title); len(uris) != 1 {
		t.Errorf("on Discover %d times, want once", len(uris))
	}
	for name, c := range map[string]struct {
		body, want string
		status     int
	}{
		"unknown community":   {`{"community":"nobody.pds1.atoll-tests.net","content":"x"}`, "CommunityNotFound", 404},
		"malformed community": {`{"community":"not a handle","content":"x"}`, "InvalidRequest", 400},
		"no community":        {`{"content":"x"}`, "InvalidRequest", 400},
		"not JSON":            {`{`, "InvalidRequest", 400},
		"not UTF-8":           {"{\"community\":\"" + commons.DID + "\",\"content\":\"\xff\"}", "InvalidRequest", 400},
		"empty":               {``, "InvalidRequest", 400},
		"too long":            {`{"community":"` + commons.DID + `","content":"` + strings.Repeat("x", 10001) + `"}`, "ContentTooLong", 400},
		"nothing said":        {`{"community":"` + commons.DID + `"}`, "ContentEmpty", 400},
	} {
		if a := call(c.body, nil); a.status != c.status || !strings.Contains(a.body, `"`+c.want+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.want)
		}
	}
	if a := call(input, map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}); a.status != http.StatusForbidden {
		t.Errorf("from another site: %d %s, want 403", a.status, a.body)
	}
	b.cookies = map[string]*http.Cookie{}
	if a := call(input, nil); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "AuthRequired") {
		t.Errorf("signed out: %d %s, want 401 AuthRequired", a.status, a.body)
	}
}

// TestPagingDiscover walks all pages and meets every post once.
func TestPagingDiscover(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	author := inst.network.NewAccount(t, 0)
	titles := map[string]int{}
	for range 7 {
		title := "paged " + network.Name("x")
		titles[title] = 0
		writeDirectly(t, inst.network, author, commons, title)
	}
	awaitStream(t, inst, author, commons)
	b := inst.browser()
	cursor := ""
	for range 500 {
		a := b.get("/xrpc/social.coves.feed.getDiscover?" + url.Values{"limit": {"3"}, "cursor": {cursor}}.Encode())
		var out struct {
			Feed []struct {
				Post struct{ Record struct{ Title string } }
			}
			Cursor string
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
			t.Fatalf("page after %q: %d %s (%v)", cursor, a.status, a.body, err)
		}
		for _, item := range out.Feed {
			if n, ours := titles[item.Post.Record.Title]; ours {
				titles[item.Post.Record.Title] = n + 1
			}
		}
		if cursor = out.Cursor; cursor == "" {
			break
		}
	}
	for title, n := range titles {
		if n != 1 {
			t.Errorf("%q was on %d pages, want one", title, n)
		}
	}
	if a := b.get("/xrpc/social.coves.feed.getDiscover?cursor=nonsense"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "InvalidCursor") {
		t.Errorf("a made-up cursor: %d %s, want 400 InvalidCursor", a.status, a.body)
	}
}
