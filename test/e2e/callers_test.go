package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

const createMethod = "social.coves.community.post.create"

// serviceToken asks a member's server for a token to call a method with.
func serviceToken(t *testing.T, s *network.Session, audience, method string) string {
	t.Helper()
	var out struct{ Token string }
	if err := s.Query(t.Context(), "com.atproto.server.getServiceAuth", url.Values{"aud": {audience}, "lxm": {method}}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Token
}

// TestCallingThroughTheServer: a token that the member's server signs proves who
// asks, once and for one method; the post goes by the session that the member has
// here, and without one they are asked to sign in.
func TestCallingThroughTheServer(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	for pds := range inst.network.PDS {
		member := inst.network.NewAccount(t, pds)
		server, err := inst.network.SignInWithPassword(t.Context(), member)
		if err != nil {
			t.Fatal(err)
		}
		title := "through the server " + network.Name("x")
		call := func(token string) answer {
			return inst.browser().do(http.MethodPost, "/xrpc/"+createMethod, strings.NewReader(`{"community":"`+commons.DID+`","title":"`+title+`","did":"`+commons.DID+`"}`),
				map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + token, "Atoll-Acting-DID": commons.DID})
		}
		token := func(method string) string { return serviceToken(t, server, "did:web:"+inst.host, method) }
		if a := call(token(createMethod)); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "SignInAgain") {
			t.Errorf("never signed in: %d %s, want 401 SignInAgain", a.status, a.body)
		}
		inst.browser().signIn(member)
		good := token(createMethod)
		if a := call(good); a.status != http.StatusOK || !strings.Contains(a.body, "at://"+member.DID+"/"+postCollection) {
			t.Errorf("signed in: %d %s", a.status, a.body)
		}
		for name, bad := range map[string]string{"again": good, "for another method": token("social.coves.feed.getDiscover"),
			"for another server": serviceToken(t, server, "did:web:other.atoll-tests.net", createMethod)} {
			if a := call(bad); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "service token") {
				t.Errorf("%s: %d %s, want 401", name, a.status, a.body)
			}
		}
		if _, uris := discover(t, inst.browser(), title); len(uris) != 1 {
			t.Errorf("on Discover %d times, want once", len(uris))
		}
	}
}

// appPassword makes one at the member's server.
func appPassword(t *testing.T, inst *instance, member network.Account) (*network.Session, string) {
	t.Helper()
	server, err := inst.network.SignInWithPassword(t.Context(), member)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Password string }
	if err := server.Call(t.Context(), "com.atproto.server.createAppPassword", map[string]string{"name": "atoll"}, &made); err != nil {
		t.Fatal(err)
	}
	inst.known["app password of "+member.DID] = made.Password
	return server, made.Password
}

// passwords counts the app passwords that the instance keeps of an account.
func (i *instance) passwords(did string) (n int) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	if err := db.Read().QueryRowContext(i.t.Context(), `SELECT count(*) FROM app_password WHERE did = $1`, did).Scan(&n); err != nil {
		i.t.Fatal(err)
	}
	return n
}

// TestAppPasswords: given on the account page, proven at the member's server, used
// where the setting says so, and found wanting when it is taken back there.
func TestAppPasswords(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_DELEGATION_WRITES": "app-password"}})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 1)
	server, made := appPassword(t, inst, member)
	b := inst.browser()
	b.signIn(member)
	give := func(password string) answer {
		form := formOf(t, b.get("/account/delegation"), "/account/delegation/password", nil)
		form.Set("password", password)
		return b.post("/account/delegation/password", form)
	}
	if a := give(member.Password); a.status != http.StatusBadRequest || !strings.Contains(a.body, "password of your account itself") {
		t.Errorf("the account's own password: %d", a.status)
	}
	if a := give(made); a.status != http.StatusSeeOther {
		t.Fatalf("giving: %d %s", a.status, a.body)
	}
	if err := inst.learnSecrets(); err != nil {
		t.Fatal(err)
	}
	if a := b.get("/api/me/standing"); a.status != http.StatusOK || !strings.Contains(a.body, `"state":"connected","way":"app-password"`) {
		t.Errorf("standing: %d %s", a.status, a.body)
	}
	if a := b.get("/account/delegation"); !strings.Contains(a.body, "Atoll writes for you by your app password.") {
		t.Errorf("the page does not say so:\n%s", a.body)
	}
	post := func(title string) answer {
		return b.do(http.MethodPost, "/xrpc/"+createMethod, strings.NewReader(`{"community":"`+commons.DID+`","title":"`+title+`"}`),
			map[string]string{"Content-Type": "application/json", "Origin": inst.origin(), "Sec-Fetch-Site": "same-origin", "Atoll-Acting-DID": member.DID})
	}
	inst.restart() // its session is kept
	if a := post("by password"); a.status != http.StatusOK {
		t.Errorf("posting: %d %s", a.status, a.body)
	}
	if err := server.Call(t.Context(), "com.atproto.server.revokeAppPassword", map[string]string{"name": "atoll"}, nil); err != nil {
		t.Fatal(err)
	}
	form := formOf(t, b.get("/account/delegation"), "/account/delegation/password/remove", nil)
	if a := b.post("/account/delegation/password/remove", form); a.status != http.StatusSeeOther {
		t.Errorf("removing: %d %s", a.status, a.body)
	}
	if a := b.get("/account/delegation"); !strings.Contains(a.body, "You have given no app password.") {
		t.Errorf("after removing:\n%s", a.body)
	}
	if a := post("by signing in"); a.status != http.StatusOK {
		t.Errorf("posting without it: %d %s", a.status, a.body)
	}
}

// TestAnAggregator: a service proves its domain and gets a key without a browser,
// by tokens of its server; with the key it posts where the community lets it, by
// the session that it has here, until the key is revoked.
func TestAnAggregator(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	bot := inst.network.NewAccount(t, 1)
	domain := network.AppHost()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == domain && r.URL.Path == "/.well-known/atproto-did" {
			fmt.Fprintln(w, bot.DID)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(site.Close)
	inst.hosts[domain] = site.Listener.Addr().String()
	inst.restart()
	server, err := inst.network.SignInWithPassword(t.Context(), bot)
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, body, token string) answer {
		return inst.browser().do(http.MethodPost, "/xrpc/"+method, strings.NewReader(body),
			map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + token})
	}
	own := func(method, body string) answer {
		return call("social.coves.aggregator."+method, body, serviceToken(t, server, "did:web:"+inst.host, "social.coves.aggregator."+method))
	}
	if a := own("register", `{"did":"`+bot.DID+`","domain":"`+inst.host+`"}`); a.status != http.StatusBadRequest || !strings.Contains(a.body, "DomainVerificationFailed") {
		t.Errorf("another's domain: %d %s", a.status, a.body)
	}
	if a := own("register", `{"did":"`+bot.DID+`","domain":"`+domain+`"}`); a.status != http.StatusOK {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	var made struct{ Key string }
	if a := own("createApiKey", ""); a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &made) != nil || !strings.HasPrefix(made.Key, "ckapi_") {
		t.Fatalf("key: %d %s", a.status, a.body)
	}
	title := "by an aggregator " + network.Name("x")
	create := func() answer {
		return call(createMethod, `{"community":"`+commons.DID+`","title":"`+title+`"}`, made.Key)
	}
	if a := create(); a.status != http.StatusForbidden || !strings.Contains(a.body, "NotAuthorized") {
		t.Errorf("not authorized: %d %s", a.status, a.body)
	}
	moderator, err := inst.network.SignInWithPassword(t.Context(), commons)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := moderator.CreateRecord(t.Context(), "social.coves.aggregator.authorization", "", map[string]any{
		"aggregatorDid": bot.DID, "communityDid": commons.DID, "enabled": true, "createdAt": now(), "createdBy": commons.DID}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the authorization", func() bool {
		return strings.Contains(inst.browser().get("/xrpc/social.coves.aggregator.getAuthorizations?aggregatorDid="+bot.DID).body, commons.DID)
	})
	if a := create(); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "SignInAgain") {
		t.Errorf("authorized, without a session: %d %s", a.status, a.body)
	}
	inst.browser().signIn(bot)
	if a := create(); a.status != http.StatusOK || !strings.Contains(a.body, "at://"+bot.DID+"/"+postCollection) {
		t.Errorf("authorized: %d %s", a.status, a.body)
	}
	if _, uris := discover(t, inst.browser(), title); len(uris) != 1 {
		t.Errorf("on Discover %d times, want once", len(uris))
	}
	if a := own("revokeApiKey", ""); a.status != http.StatusOK {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	if a := create(); a.status != http.StatusUnauthorized {
		t.Errorf("revoked: %d %s", a.status, a.body)
	}
}
