package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
)

// TestSignInWithBadInput: whatever is typed, a page says what is wrong with the
// right status, and nothing is kept.
func TestSignInWithBadInput(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<h1>hello</h1>") }))
	t.Cleanup(html.Close)
	mapHost(t, inst, "html.atoll-tests.net", strings.TrimPrefix(html.URL, "http://"))
	mapHost(t, inst, "down.atoll-tests.net", freeAddr(t))
	inst.restart() // with the new hosts
	cases := []struct {
		name, identifier string
		status           int
		says             string
	}{
		{"spaces", "  \u200b ", 400, "handle"},
		{"nonsense", "not a handle", 400, "handle"},
		{"control characters", "heron\x01.example.org", 400, "character"},
		{"not UTF-8", "heron\xff.example.org", 400, "text"},
		{"oversized", strings.Repeat("a", 5000), 400, "long"},
		{"unknown handle", "nobody-here.pds1.atoll-tests.net", 404, "nobody-here.pds1.atoll-tests.net"},
		{"unknown DID", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 404, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"},
		{"kind of DID without accounts", "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", 400, "not a DID that an account can have"},
		{"reserved TLD", "heron.local", 400, ".local"},
		{"a server that is down", "https://down.atoll-tests.net", 503, "down.atoll-tests.net"},
		{"a server that answers HTML", "https://html.atoll-tests.net", 503, "html.atoll-tests.net"},
		{"plain http", "http://html.atoll-tests.net", 400, "https"},
		{"a private address", "https://10.0.0.1", 400, "address"},
		{"this machine", "https://127.0.0.1", 400, "address"},
	}
	for _, c := range cases {
		b := inst.browser()
		a := b.get("/oauth/login?" + url.Values{"handle": {c.identifier}}.Encode())
		if a.status != c.status {
			t.Errorf("%s: status %d, want %d", c.name, a.status, c.status)
		}
		eventually(t, c.name+": one log line", func() bool {
			return strings.Count(inst.log.String(), a.header.Get("X-Request-Id")) == 1
		})
		if !strings.Contains(a.header.Get("Content-Type"), "text/html") || !strings.Contains(problemOf(a.body), c.says) {
			t.Errorf("%s: the page (%s) says %q, want %q in it", c.name, a.header.Get("Content-Type"), problemOf(a.body), c.says)
		}
		if len(b.cookies) > 0 {
			t.Errorf("%s: cookies %v, want none", c.name, b.cookies)
		}
	}
	if a := inst.browser().get("/oauth/login?handle=&return_to=/account"); a.status != http.StatusSeeOther || !strings.HasPrefix(a.location(), "/sign-in") {
		t.Errorf("nothing typed: %d to %q, want the form", a.status, a.location())
	}
	if n := inst.count("login_attempt"); n != 0 {
		t.Errorf("%d attempts were kept, want none", n)
	}
}

var problem = regexp.MustCompile(`(?s)(?:<p class="wrong"[^>]*>|<div class="trouble" role="alert"><p>)(.*?)</p>`)

// problemOf is the sentence that a page has about what went wrong.
func problemOf(page string) string {
	if found := problem.FindStringSubmatch(page); found != nil {
		return found[1]
	}
	return ""
}

// TestCallbackWithBadInput: made-up, foreign and expired ways back.
func TestCallbackWithBadInput(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	b := inst.browser()
	for name, query := range map[string]string{
		"empty":         "",
		"no state":      "?code=x&iss=https://pds1.atoll-tests.net",
		"foreign state": "?code=x&state=" + strings.Repeat("a", 43) + "&iss=https://pds1.atoll-tests.net",
		"short state":   "?code=x&state=a&iss=https://pds1.atoll-tests.net",
		"oversized":     "?code=x&state=" + strings.Repeat("a", 20000),
		"not UTF-8":     "?code=%ff&state=%fe",
		"error":         "?error=access_denied&state=nonsense",
	} {
		if a := b.get("/oauth/callback" + query); a.status < 400 || a.status >= 500 || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s, want a page with 4xx", name, a.status, a.header.Get("Content-Type"))
		}
	}
	if b.deviceCookie() != "" || inst.count("device") != 0 || inst.count("oauth_session") != 0 {
		t.Error("a made-up callback left something behind")
	}
}

// TestAnExpiredAttempt: half an hour is over, no sweeper has run (S14).
func TestAnExpiredAttempt(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	redirect, err := inst.network.SignIn(t.Context(), b.begin(account.Handle, "/"), account)
	if err != nil {
		t.Fatal(err)
	}
	inst.exec(`UPDATE login_attempt SET expires_at = 1`)
	if a := b.get(redirect); a.status < 400 || a.status >= 500 || b.deviceCookie() != "" {
		t.Errorf("an attempt past its life: %d, device cookie %q; want 4xx and none", a.status, b.deviceCookie())
	}
}

// TestWrongMethodsAndPlaces: every route answers a method that it does not take
// with 405, every made-up address with 404, in the manner of its surface.
func TestWrongMethodsAndPlaces(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	b := inst.browser()
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"DELETE", "/discover", 405, "text/html"},
		{"GET", "/oauth/logout", 405, "text/html"},
		{"PUT", "/account", 405, "text/html"},
		{"GET", "/nowhere", 404, "text/html"},
		{"GET", "/static/nowhere.css", 404, "text/html"},
		{"GET", "/static/..%2f..%2fweb.go", 404, "text/html"},
		{"POST", "/xrpc/social.coves.feed.getDiscover", 405, "application/json"},
		{"GET", "/xrpc/social.coves.community.post.create", 405, "application/json"},
		{"GET", "/xrpc/social.coves.nowhere", 501, "application/json"},
		{"GET", "/xrpc/", 404, "application/json"},
		{"POST", "/api/me", 405, "application/json"},
	} {
		header := map[string]string{"Origin": inst.origin(), "Sec-Fetch-Site": "same-origin"}
		a := b.do(c.method, c.path, nil, header)
		if a.status != c.status || !strings.Contains(a.header.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, a.status, a.header.Get("Content-Type"), c.status, c.kind)
		}
	}
}

// TestProductionHeaders stand on every kind of answer.
func TestProductionHeaders(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	b := inst.browser()
	for _, path := range []string{"/", "/discover", "/nowhere", "/oauth/login?handle=x", "/xrpc/social.coves.feed.getDiscover", "/healthz"} {
		a := b.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy":   "frame-ancestors 'none'",
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "same-origin",
			"Strict-Transport-Security": "max-age=",
		} {
			if !strings.Contains(a.header.Get(name), want) {
				t.Errorf("GET %s: %s = %q, want %q in it", path, name, a.header.Get(name), want)
			}
		}
	}
}

func mapHost(t *testing.T, inst *instance, host, addr string) {
	t.Helper()
	if err := inst.network.MapHost(t.Context(), host, addr); err != nil {
		t.Fatal(err)
	}
	inst.hosts[host] = addr
}

// count counts the rows of a table of the instance.
func (i *instance) count(table string) (n int) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	if err := db.Read().QueryRowContext(i.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		i.t.Fatal(err)
	}
	return n
}

// exec changes the instance's rows behind its back.
func (i *instance) exec(statement string) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	err := db.Tx(i.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(i.t.Context(), statement)
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
}
