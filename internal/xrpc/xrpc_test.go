package xrpc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	discoverPath = "/xrpc/social.coves.feed.getDiscover"
	createPath   = "/xrpc/social.coves.community.post.create"
)

// TestUnknown holds that every way to ask wrongly has its JSON answer.
func TestUnknown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	tests := []struct {
		verb, path string
		status     int
		name       string
		allow      string
	}{
		{"GET", "/xrpc/social.coves.feed.getNothing", 501, "MethodNotImplemented", ""},
		{"POST", "/xrpc/com.atproto.repo.createRecord", 501, "MethodNotImplemented", ""},
		{"GET", "/xrpc/nonsense", 404, "NotFound", ""},
		{"GET", "/xrpc/", 404, "NotFound", ""},
		{"GET", "/xrpc/social.coves.feed.getDiscover/more", 404, "NotFound", ""},
		{"POST", discoverPath, 405, "InvalidRequest", "GET, OPTIONS"},
		{"GET", createPath, 405, "InvalidRequest", "POST, OPTIONS"},
		{"DELETE", createPath, 405, "InvalidRequest", "POST, OPTIONS"},
		{"POST", "/api/me", 405, "MethodNotAllowed", "GET, HEAD"},
	}
	for _, tt := range tests {
		got := a.do(call{verb: tt.verb, path: tt.path})
		if got.status != tt.status || got.Error != tt.name || got.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d %s, Allow %q; want %d %s, %q", tt.verb, tt.path,
				got.status, got.Error, got.header.Get("Allow"), tt.status, tt.name, tt.allow)
		}
	}
}

// TestAnyOrigin holds that scripts of any site may ask, and never with cookies.
func TestAnyOrigin(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	foreign := []string{"Origin", "https://other.example.com"}
	for _, c := range []call{
		{verb: "GET", path: discoverPath, headers: foreign},
		{verb: "GET", path: discoverPath + "?cursor=x", headers: foreign},
		{verb: "POST", path: createPath, headers: foreign},
		{verb: "GET", path: "/xrpc/nonsense", headers: foreign},
		{verb: "OPTIONS", path: createPath, headers: append([]string{"Access-Control-Request-Method", "POST"}, foreign...)},
	} {
		got := a.do(c)
		if got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s %s: headers %v", c.verb, c.path, got.header)
		}
		if c.verb == "OPTIONS" && (got.status != 204 || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Authorization")) {
			t.Errorf("preflight: %d %v", got.status, got.header)
		}
	}
}

// fill puts posts into the index, with size bytes that no lexicon knows in each.
func (a *api) fill(n int, size ...int) {
	a.t.Helper()
	var commits []index.Commit
	for i := range n {
		key := syntax.NewTIDFromTime(time.Now().Add(time.Duration(i-n)*time.Second), 1)
		record := map[string]any{"$type": "social.coves.community.postv2", "community": string(commons),
			"title": fmt.Sprint(i), "createdAt": key.Time().Format(time.RFC3339Nano)}
		for _, bytes := range size {
			record["unknown"] = strings.Repeat("x", bytes)
		}
		cid := must(agent.RecordCID(record))(a.t)
		c, drops := a.index.Prepare(alice, key, []index.Op{{Action: index.Create, Collection: index.PostCollection,
			RKey: syntax.RecordKey(key), CID: cid, Record: record}})
		if len(drops) > 0 {
			a.t.Fatal(drops)
		}
		commits = append(commits, c)
	}
	err := a.db.Tx(a.t.Context(), func(tx *store.Tx) error {
		_, err := a.index.Apply(a.t.Context(), tx, commits)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// page is a feed as a client sees it.
type page struct {
	Feed []struct {
		Post map[string]json.RawMessage `json:"post"`
	} `json:"feed"`
	Cursor *string `json:"cursor"`
}

func (a *api) page(query string) page {
	a.t.Helper()
	got := a.do(call{verb: "GET", path: discoverPath + query})
	if got.status != 200 {
		a.t.Fatalf("Discover%s: %d %s", query, got.status, got.body)
	}
	var p page
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		a.t.Fatal(err)
	}
	return p
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	if got := a.do(call{verb: "GET", path: discoverPath}); got.body != `{"feed":[]}`+"\n" {
		t.Errorf("empty: %s", got.body)
	}
	a.fill(33)
	first := a.page("?sort=new")
	second := a.page("?sort=new&cursor=" + *first.Cursor)
	third := a.page("?limit=15&sort=new&cursor=" + *second.Cursor)
	if len(first.Feed) != 15 || len(second.Feed) != 15 || len(third.Feed) != 3 || third.Cursor != nil {
		t.Errorf("pages of %d, %d, %d; last cursor %v", len(first.Feed), len(second.Feed), len(third.Feed), third.Cursor)
	}
	seen := map[string]bool{}
	for _, p := range []page{first, second, third} {
		for _, f := range p.Feed {
			seen[string(f.Post["uri"])] = true
		}
	}
	if len(seen) != 33 {
		t.Errorf("%d different posts, want 33", len(seen))
	}
	post := first.Feed[0].Post
	want := map[string]string{
		"author":    `{"did":"` + string(alice) + `","handle":"handle.invalid"}`,
		"community": `{"did":"` + string(commons) + `","handle":"handle.invalid","name":"` + string(commons) + `"}`,
		"stats":     `{"upvotes":0,"downvotes":0,"score":0,"commentCount":0}`,
		"status":    `"pending"`,
	}
	for field, w := range want {
		if string(post[field]) != w {
			t.Errorf("%s is %s, want %s", field, post[field], w)
		}
	}
}

// TestDiscoverOfHeavyPosts holds that a stranger's request costs little, whatever
// the posts are: pages are shorter, and nothing is left out.
func TestDiscoverOfHeavyPosts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fill(11, 250<<10)
	var sizes []int
	for query := "?limit=50"; len(sizes) < 10; {
		if got := a.do(call{verb: "GET", path: discoverPath + query}); len(got.body) > 1100<<10 {
			t.Errorf("%s: an answer of %d bytes", query, len(got.body))
		}
		p := a.page(query)
		sizes = append(sizes, len(p.Feed))
		if p.Cursor == nil {
			break
		}
		query = "?limit=50&cursor=" + *p.Cursor
	}
	if diff := cmp.Diff([]int{4, 4, 3}, sizes); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestDiscoverBadInput(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fill(20)
	cursor := *a.page("").Cursor
	tests := []struct{ query, name string }{
		{"?limit=0", "InvalidRequest"}, {"?limit=51", "InvalidRequest"}, {"?limit=-1", "InvalidRequest"},
		{"?limit=ten", "InvalidRequest"}, {"?limit=99999999999999999999", "InvalidRequest"},
		{"?sort=worst", "InvalidRequest"}, {"?x=%zz", "InvalidRequest"},
		{"?cursor=x", "InvalidCursor"}, {"?cursor=%ff%fe", "InvalidCursor"}, {"?cursor=" + cursor + "A", "InvalidCursor"},
		{"?cursor=" + strings.Repeat("A", 5000), "InvalidCursor"},
	}
	for _, tt := range tests {
		if got := a.do(call{verb: "GET", path: discoverPath + tt.query}); got.status != 400 || got.Error != tt.name {
			t.Errorf("%.40s: %d %s, want 400 %s", tt.query, got.status, got.Error, tt.name)
		}
	}
	// A visitor's cursor is not a member's.
	cookie := a.signIn("", alice)
	if got := a.do(call{verb: "GET", path: discoverPath + "?cursor=" + cursor, cookie: cookie}); got.Error != "InvalidCursor" {
		t.Errorf("a visitor's cursor with a cookie: %d %s", got.status, got.Error)
	}
}

// create posts as alice.
func (a *api) create(cookie, body string, headers ...string) answer {
	a.t.Helper()
	all := append([]string{"Origin", origin, "Sec-Fetch-Site", "same-origin", ActingHeader, string(alice)}, headers...)
	return a.do(call{verb: "POST", path: createPath, body: body, cookie: cookie, headers: all})
}

func TestPostCreate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	body := `{"community":"@commons.example.com","title":"t","content":"c","unknown":{"to":["us"]}}`
	first := a.create(cookie, body, IdempotencyHeader, "k1")
	if first.status != 200 || !strings.HasPrefix(first.body, `{"uri":"at://`+string(alice)+`/social.coves.community.postv2/`) {
		t.Fatalf("created: %d %s", first.status, first.body)
	}
	if again := a.create(cookie, body, IdempotencyHeader, "k1"); again.body != first.body {
		t.Errorf("repeated: %s, want %s", again.body, first.body)
	}
	if other := a.create(cookie, `{"community":"commons.example.com","title":"u"}`, IdempotencyHeader, "k1"); other.status != 409 || other.Error != "Conflict" {
		t.Errorf("another request under the key: %d %s", other.status, other.Error)
	}
	if feed := a.page("").Feed; len(feed) != 1 || string(feed[0].Post["author"]) != `{"did":"`+string(alice)+`","handle":"alice.example.com"}` {
		t.Errorf("Discover: %v", feed)
	}
}

func TestPostCreateBadInput(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	ok := `{"community":"commons.example.com","title":"t"}`
	tests := []struct {
		name, body string
		headers    []string
		status     int
		code       string
	}{
		{"empty", "", nil, 400, "InvalidRequest"},
		{"null", "null", nil, 400, "InvalidRequest"},
		{"a list", "[]", nil, 400, "InvalidRequest"},
		{"cut", ok[:20], nil, 400, "InvalidRequest"},
		{"two values", ok + ok, nil, 400, "InvalidRequest"},
		{"wrong type", `{"community":"commons.example.com","title":7}`, nil, 400, "InvalidRequest"},
		{"not UTF-8", `{"community":"commons.example.com","title":"` + "\xff" + `"}`, nil, 400, "InvalidRequest"},
		{"U+0000", `{"community":"commons.example.com","title":"a\u0000b"}`, nil, 400, "InvalidRequest"},
		{"a form", "community=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "InvalidRequest"},
		{"over a megabyte", `{"title":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "RequestTooLarge"},
		{"too long", `{"community":"commons.example.com","title":"` + strings.Repeat("x", 301) + `"}`, nil, 400, "ContentTooLong"},
		{"nothing to say", `{"community":"commons.example.com"}`, nil, 400, "ContentEmpty"},
		{"unknown community", `{"community":"nobody.example.com","title":"t"}`, nil, 404, "CommunityNotFound"},
		{"no community", `{"title":"t"}`, nil, 400, "InvalidRequest"},
		{"key of 300 bytes", ok, []string{IdempotencyHeader, strings.Repeat("k", 300)}, 400, "InvalidRequest"},
	}
	for _, tt := range tests {
		if got := a.create(cookie, tt.body, tt.headers...); got.status != tt.status || got.Error != tt.code {
			t.Errorf("%s: %d %s (%s), want %d %s", tt.name, got.status, got.Error, got.Words, tt.status, tt.code)
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
}

// TestPostCreateFailures holds that trouble at the member's server has its
// status, and that our own stays private.
func TestPostCreateFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{fault.New(fault.Unauthenticated, "Sign in again.").WithCode("SignInAgain"), 401, "SignInAgain"},
		{fault.New(fault.Forbidden, "Scope.").WithCode("MissingScope"), 403, "MissingScope"},
		{fault.New(fault.Limited, "Later.").After(90 * time.Second), 429, "RateLimitExceeded"},
		{fault.New(fault.Unavailable, "Your server does not answer."), 503, "ServiceUnavailable"},
		{errBug, 500, "InternalServerError"},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.desk.fail = tt.err
			got := a.create(a.signIn("", alice), `{"community":"commons.example.com","title":"t"}`)
			if got.status != tt.status || got.Error != tt.code || strings.Contains(got.body, "bug") {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if tt.status == http.StatusTooManyRequests && got.header.Get("Retry-After") != "90" {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
		})
	}
}

// TestWriteLimit holds O7 for accounts.
func TestWriteLimit(t *testing.T) {
	t.Parallel()
	limiter := must(httpserver.NewLimiter(httpserver.LimiterConfig{Every: time.Hour, Burst: 2}))(t)
	a := newAPI(t, func(c *Config) { c.Writes = limiter })
	cookie := a.signIn("", alice)
	var got []int
	for range 3 {
		got = append(got, a.create(cookie, `{"community":"commons.example.com","title":"t"}`).status)
	}
	if fmt.Sprint(got) != "[200 200 429]" {
		t.Errorf("statuses %v", got)
	}
}
