package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// recorder keeps everything that left an instance, for the search for secrets.
type recorder struct {
	mu   sync.Mutex
	kept []kept
}

type kept struct{ what, text string }

func (r *recorder) text(what, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, kept{what, text})
}

// browser is an HTTP client that behaves as a browser does where it matters:
// cookies by their rules, Origin and Sec-Fetch-Site on posts, no redirects
// followed unless asked.
type browser struct {
	t       *testing.T
	inst    *instance
	client  *http.Client
	cookies map[string]*http.Cookie
}

func (i *instance) browser() *browser {
	client := i.network.Client()
	return &browser{t: i.t, inst: i, client: client, cookies: map[string]*http.Cookie{}}
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
	method string
	url    string
}

func (a answer) location() string { return a.header.Get("Location") }

// get opens an address of the instance (a path) or a whole URL.
func (b *browser) get(path string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, nil)
}

// post sends a form as a page of the same origin does.
func (b *browser) post(path string, form url.Values) answer {
	b.t.Helper()
	return b.do(http.MethodPost, path, strings.NewReader(form.Encode()), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": b.inst.origin(), "Sec-Fetch-Site": "same-origin",
	})
}

func (b *browser) do(method, target string, body io.Reader, header map[string]string) answer {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.inst.origin() + target
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, target, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.cookies {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, target, err)
	}
	b.keepCookies(resp)
	b.inst.seen.text(fmt.Sprintf("answer to %s %s", method, req.URL.Path), fmt.Sprint(resp.Header)+"\n"+string(text))
	return answer{resp.StatusCode, resp.Header, string(text), method, target}
}

func (b *browser) keepCookies(resp *http.Response) {
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c
	}
}

// deviceCookie is the value that stands for the signed-in browser, "" when
// signed out.
func (b *browser) deviceCookie() string {
	for name, c := range b.cookies {
		if strings.Contains(name, "atoll") && !strings.Contains(name, "login") {
			return c.Value
		}
	}
	return ""
}

// begin starts a sign-in and returns the PDS's authorize URL.
func (b *browser) begin(identifier, returnTo string) string {
	b.t.Helper()
	a := b.get("/oauth/login?" + url.Values{"handle": {identifier}, "return_to": {returnTo}}.Encode())
	if a.status != http.StatusSeeOther && a.status != http.StatusFound {
		b.t.Fatalf("sign-in as %s: status %d, want a redirect to the PDS\n%s", identifier, a.status, a.body)
	}
	if err := b.inst.learnSecrets(); err != nil {
		b.t.Fatal(err)
	}
	return a.location()
}

// signIn brings an account through the PDS's pages and back.
func (b *browser) signIn(account network.Account) answer {
	b.t.Helper()
	redirect, err := b.inst.network.SignIn(b.t.Context(), b.begin(account.Handle, "/account"), account)
	if err != nil {
		b.t.Fatalf("sign-in of %s at the PDS: %v", account.Handle, err)
	}
	a := b.get(redirect)
	if a.status != http.StatusSeeOther || a.location() != "/account" {
		b.t.Fatalf("callback: status %d, location %q, want 303 to /account\n%s", a.status, a.location(), a.body)
	}
	return a
}

// me asks who the browser is signed in as.
func (b *browser) me() (status int, did, handle string) {
	b.t.Helper()
	a := b.get("/api/me")
	var out struct{ DID, Handle string }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		b.t.Fatalf("GET /api/me: %d %s: %v", a.status, a.body, err)
	}
	return a.status, out.DID, out.Handle
}
