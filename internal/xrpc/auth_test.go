package xrpc

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// TestWhoMayAsk holds A9: which endpoint takes which proof of who is asking.
// Everything else, headers and fields that name an actor among it, proves
// nothing.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	const (
		discover = "GET /xrpc/social.coves.feed.getDiscover"
		create   = "POST /xrpc/social.coves.community.post.create"
		me       = "GET /api/me"
	)
	endpoints := []string{discover, create, me}
	pdsToken := jwt(`{"iss":"https://pds.example.com","sub":"` + string(alice) + `","scope":"com.atproto.access"}`)
	service := jwt(`{"iss":"` + string(alice) + `","aud":"did:web:app.example.com","lxm":"social.coves.feed.getDiscover","sub":"` + string(alice) + `"}`)
	own := []string{"Origin", origin, "Sec-Fetch-Site", "same-origin"}
	acting := append([]string{ActingHeader, string(alice)}, own...)
	outcome := func(status int, name string) map[string]any { return map[string]any{"status": status, "error": name} }
	done, signedOut := outcome(200, ""), outcome(401, "AuthRequired")
	tests := []struct {
		name    string
		cookie  bool
		headers []string
		want    map[string]map[string]any
	}{
		{"nothing", false, nil, map[string]map[string]any{discover: done, create: signedOut, me: signedOut}},
		{"device cookie, our page, right account", true, acting, map[string]map[string]any{discover: done, create: done, me: done}},
		{"device cookie, our page, no account named", true, own,
			map[string]map[string]any{discover: done, create: outcome(400, "InvalidRequest"), me: done}},
		{"device cookie, our page, another account", true, append([]string{ActingHeader, string(bob)}, own...),
			map[string]map[string]any{discover: done, create: outcome(409, "AccountSwitched"), me: done}},
		{"device cookie, no origin", true, []string{ActingHeader, string(alice)},
			map[string]map[string]any{discover: done, create: outcome(403, "CrossOrigin"), me: done}},
		{"device cookie, foreign origin", true,
			[]string{ActingHeader, string(alice), "Origin", "https://evil.example.com", "Sec-Fetch-Site", "cross-site"},
			map[string]map[string]any{discover: done, create: outcome(403, "CrossOrigin"), me: done}},
		{"token of a PDS", false, []string{"Authorization", "Bearer " + pdsToken},
			map[string]map[string]any{discover: signedOut, create: outcome(401, "DirectWriteRequired"), me: signedOut}},
		{"token of a PDS with a proof", false, []string{"Authorization", "DPoP " + pdsToken},
			map[string]map[string]any{discover: signedOut, create: outcome(401, "DirectWriteRequired"), me: signedOut}},
		{"token of a service", false, []string{"Authorization", "Bearer " + service},
			map[string]map[string]any{discover: signedOut, create: signedOut, me: signedOut}},
		{"token of nobody", false, []string{"Authorization", "Bearer abc"},
			map[string]map[string]any{discover: signedOut, create: signedOut, me: signedOut}},
		{"password", false, []string{"Authorization", "Basic YWRtaW46eA=="},
			map[string]map[string]any{discover: signedOut, create: signedOut, me: signedOut}},
		{"a cookie beside a token is not read", true, append([]string{"Authorization", "Bearer abc"}, acting...),
			map[string]map[string]any{discover: signedOut, create: signedOut, me: signedOut}},
		{"headers that name somebody", false,
			append([]string{"X-Forwarded-User", string(alice), "X-DID", string(alice), "DID", string(alice)}, acting...),
			map[string]map[string]any{discover: done, create: signedOut, me: signedOut}},
	}
	body := `{"community":"commons.example.com","title":"t","author":"` + string(bob) + `","did":"` + string(bob) + `","repo":"` + string(bob) + `"}`
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			cookie := ""
			if tt.cookie {
				cookie = a.signIn("", alice)
			}
			for _, endpoint := range endpoints {
				verb, path, _ := strings.Cut(endpoint, " ")
				got := a.do(call{verb: verb, path: path, body: body, cookie: cookie, headers: tt.headers})
				if want := tt.want[endpoint]; got.status != want["status"] || got.Error != want["error"] {
					t.Errorf("%s: got %d %s, want %v", endpoint, got.status, got.Error, want)
				}
			}
			for _, actor := range a.desk.actors {
				if actor.DID != alice {
					t.Errorf("wrote as %s", actor.DID)
				}
			}
			if wrote := tt.want[create]["status"] == 200; wrote != (len(a.desk.actors) == 1) {
				t.Errorf("wrote %d times", len(a.desk.actors))
			}
		})
	}
}

// TestDirectWrite holds A8: at every method that writes, a client with a token of
// its PDS is told the collection and the method.
func TestDirectWrite(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	calls := map[string]string{"create": "com.atproto.repo.createRecord", "subscribe": "com.atproto.repo.createRecord", "delete": "com.atproto.repo.deleteRecord",
		"unsubscribe": "com.atproto.repo.deleteRecord", "update": "com.atproto.repo.putRecord", "updateProfile": "com.atproto.repo.putRecord",
		"uploadImage": "com.atproto.repo.uploadBlob"}
	// What writes no record of whoever asks, so that they cannot do it themselves.
	ours := map[syntax.NSID]bool{"social.coves.community.create": true, "social.coves.community.update": true,
		"social.coves.aggregator.register": true, "social.coves.aggregator.createApiKey": true, "social.coves.aggregator.revokeApiKey": true}
	for nsid, m := range a.methods {
		if m.verb != http.MethodPost || ours[nsid] {
			continue
		}
		got := a.do(call{verb: "POST", path: Prefix + nsid.String(), body: "{}",
			headers: []string{"Authorization", "Bearer " + jwt(`{"sub":"`+string(alice)+`"}`)}})
		for _, word := range []string{m.writes.String(), calls[nsid.Name()], "at your PDS", nsid.String()} {
			if got.status != 401 || got.Error != "DirectWriteRequired" || !strings.Contains(got.Words, word) {
				t.Errorf("%s: %d %s: %q does not name %s", nsid, got.status, got.Error, got.Words, word)
			}
		}
		if got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", nsid)
		}
	}
}

// TestTwoAccounts holds S25: after a switch in another tab nothing is done by
// the wrong person.
func TestTwoAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn(a.signIn("", alice), bob) // bob is active
	post := func(did string) answer {
		return a.do(call{verb: "POST", path: "/xrpc/social.coves.community.post.create", cookie: cookie,
			body:    `{"community":"commons.example.com","title":"t"}`,
			headers: []string{"Origin", origin, "Sec-Fetch-Site", "same-origin", ActingHeader, did}})
	}
	if got := post(string(alice)); got.status != 409 || got.Error != "AccountSwitched" || len(a.desk.actors) != 0 {
		t.Errorf("as alice: %d %s, wrote %v", got.status, got.Error, a.desk.actors)
	}
	if got := post(string(bob)); got.status != 200 || len(a.desk.actors) != 1 || a.desk.actors[0].DID != bob {
		t.Errorf("as bob: %d %s, wrote %v", got.status, got.body, a.desk.actors)
	}
}

// TestMe holds S26 and S46, as far as sessions are not renewed yet.
func TestMe(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	got := a.do(call{verb: "GET", path: "/api/me", cookie: cookie})
	if want := `{"did":"` + string(alice) + `","handle":"alice.example.com"}` + "\n"; got.status != 200 || got.body != want {
		t.Errorf("signed in: %d %s, want %s", got.status, got.body, want)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", got.header)
	}
	if got := a.do(call{verb: "GET", path: "/api/me", cookie: "copied-and-dead"}); got.status != 401 || got.Error != "AuthRequired" {
		t.Errorf("dead cookie: %d %s", got.status, got.Error)
	}
	device, _, err := a.cfg.Sessions.Device(t.Context(), a.cfg.Cookies.Device(&http.Request{
		Header: http.Header{"Cookie": {a.cfg.Cookies.Name("") + "=" + cookie}}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cfg.Sessions.Delete(t.Context(), device.Accounts[0].SessionID, "revoked"); err != nil {
		t.Fatal(err)
	}
	if got := a.do(call{verb: "GET", path: "/api/me", cookie: cookie}); got.status != 401 || got.Error != "SignInAgain" {
		t.Errorf("session over: %d %s, want SignInAgain", got.status, got.Error)
	}
}
