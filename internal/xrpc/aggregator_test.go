package xrpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/aggregator"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// domains answer for people: alice has bot.example.com.
type domains struct{ people }

func (domains) WellKnownDID(_ context.Context, domain syntax.Handle) (syntax.DID, error) {
	if domain == "bot.example.com" {
		return alice, nil
	}
	return "", &identity.Error{Subject: domain.String(), Reason: identity.ErrHandleNotFound}
}

func newAggregators(t *testing.T, db *store.DB, ix *index.Index, trail *session.Manager) *aggregator.Service {
	t.Helper()
	return must(aggregator.New(aggregator.Config{DB: db, Index: ix, Directory: domains{}, Trail: trail,
		Logger: slog.New(slog.DiscardHandler), PostsPerHour: 2}))(t)
}

const (
	registerMethod = "social.coves.aggregator.register"
	keyMethod      = "social.coves.aggregator.createApiKey"
)

// TestAggregator holds A11 over the API: register, key, post where authorized,
// revoke.
func TestAggregator(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	cookie := a.signIn("", alice)
	if got := a.post(keyMethod, cookie, ""); got.status != 403 || got.Error != "Forbidden" {
		t.Errorf("key before registering: %d %s", got.status, got.body)
	}
	for name, tt := range map[string]struct {
		body, code string
		status     int
	}{
		"no domain":        {`{"did":"` + string(alice) + `"}`, "InvalidRequest", 400},
		"no DID":           {`{"domain":"bot.example.com"}`, "InvalidRequest", 400},
		"somebody else":    {`{"did":"` + string(bob) + `","domain":"bot.example.com"}`, "NotAuthorized", 403},
		"another's domain": {`{"did":"` + string(alice) + `","domain":"other.example.com"}`, "DomainVerificationFailed", 400},
		"not JSON":         {`{`, "InvalidRequest", 400},
	} {
		if got := a.post(registerMethod, cookie, tt.body); got.status != tt.status || got.Error != tt.code {
			t.Errorf("%s: %d %s, want %d %s", name, got.status, got.body, tt.status, tt.code)
		}
	}
	registered := a.fields(a.post(registerMethod, cookie, `{"did":"`+string(alice)+`","domain":"bot.example.com"}`))
	if registered["did"] != string(alice) || registered["handle"] != "alice.example.com" {
		t.Errorf("registered %v", registered)
	}
	made := a.fields(a.post(keyMethod, cookie, ""))
	key, _ := made["key"].(string)
	info := a.do(call{verb: "GET", path: Prefix + "social.coves.aggregator.getApiKey", cookie: cookie})
	if strings.Contains(info.body, key) || !strings.Contains(info.body, `"hasKey":true`) || !strings.Contains(info.body, made["keyPrefix"].(string)) {
		t.Errorf("info %s", info.body)
	}
	create := func(token string) answer {
		return a.do(call{verb: "POST", path: "/xrpc/social.coves.community.post.create", headers: []string{"Authorization", "Bearer " + token},
			body: `{"community":"!commons.example.com","title":"news","author":"` + string(bob) + `"}`})
	}
	if got := create(key); got.status != 403 || got.Error != "NotAuthorized" {
		t.Errorf("not authorized: %d %s", got.status, got.body)
	}
	a.authorize("a", true)
	for range 2 {
		if got := create(key); got.status != 200 || !strings.Contains(got.body, string(alice)) {
			t.Errorf("authorized: %d %s", got.status, got.body)
		}
	}
	if got := create(key); got.status != 429 {
		t.Errorf("too often: %d %s", got.status, got.body)
	}
	if len(a.desk.actors) != 2 || a.desk.actors[1].DID != alice || a.desk.actors[1].SessionID != "" {
		t.Errorf("wrote as %v", a.desk.actors)
	}
	if got := a.do(call{verb: "POST", path: Prefix + subscribeMethod, body: `{"community":"` + string(commons) + `"}`,
		headers: []string{"Authorization", "Bearer " + key}}); got.status != 401 || len(a.desk.actors) != 2 {
		t.Errorf("a key at another method: %d %s", got.status, got.body)
	}
	a.fields(a.post("social.coves.aggregator.revokeApiKey", cookie, ""))
	if got := create(key); got.status != 401 || got.Error != "AuthRequired" {
		t.Errorf("revoked: %d %s", got.status, got.body)
	}
	if got := a.post("social.coves.aggregator.revokeApiKey", cookie, ""); got.status != 404 {
		t.Errorf("revoked again: %d %s", got.status, got.body)
	}
}

// authorize puts what commons says about alice, a service, into the index.
func (a *api) authorize(key syntax.RecordKey, enabled bool) {
	a.t.Helper()
	a.apply(commons, index.AuthorizationCollection, key, map[string]any{"aggregatorDid": string(alice), "communityDid": string(commons), "enabled": enabled,
		"createdAt": "2026-01-02T03:04:05Z", "createdBy": string(bob), "config": map[string]any{"feeds": []any{"news"}}})
}

// TestAggregatorLists holds what is said publicly about services.
func TestAggregatorLists(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	a.apply(alice, index.ServiceCollection, "self", map[string]any{"did": string(alice), "displayName": "News", "description": "What happened",
		"sourceUrl": "https://code.example.com", "maintainer": string(bob), "createdAt": "2026-01-02T03:04:05Z"})
	a.authorize("a", true)
	get := func(query string) map[string]any {
		t.Helper()
		return a.fields(a.do(call{verb: "GET", path: Prefix + "social.coves.aggregator." + query}))
	}
	views := get("getServices?detailed=true&dids=" + string(bob) + "," + string(alice))["views"].([]any)
	text, _ := json.Marshal(views)
	for _, part := range []string{`"displayName":"News"`, `"communitiesUsing":1`, `"maintainer":"` + string(bob), `"recordUri":"at://` + string(alice) + `/social.coves.aggregator.service/self"`} {
		if len(views) != 1 || !strings.Contains(string(text), part) {
			t.Errorf("services %s, want one with %s", text, part)
		}
	}
	for _, query := range []string{"getAuthorizations?aggregatorDid=" + string(alice), "listForCommunity?community=!commons.example.com", "listForCommunity?communityDid=" + string(commons)} {
		name := "authorizations"
		if strings.HasPrefix(query, "list") {
			name = "aggregators"
		}
		list := get(query)[name].([]any)
		text, _ := json.Marshal(list)
		for _, part := range []string{`"enabled":true`, `"communityDid":"` + string(commons), `"aggregatorDid":"` + string(alice), `"displayName":"News"`, `"feeds":["news"]`} {
			if len(list) != 1 || !strings.Contains(string(text), part) {
				t.Errorf("%s: %s, want one with %s", query, text, part)
			}
		}
	}
	a.authorize("b", false)
	if list := get("getAuthorizations?aggregatorDid=" + string(alice))["authorizations"].([]any); len(list) != 1 || list[0].(map[string]any)["enabled"] != false {
		t.Errorf("after it was withdrawn: %v", list)
	}
	if list := get("getAuthorizations?enabledOnly=true&aggregatorDid=" + string(alice))["authorizations"].([]any); len(list) != 0 {
		t.Errorf("those that hold: %v", list)
	}
	for query, status := range map[string]int{
		"getServices": 400, "getServices?dids=x": 400, "getServices?dids=" + strings.Repeat(string(alice)+",", 26): 400,
		"getAuthorizations": 400, "getAuthorizations?aggregatorDid=alice.example.com": 400, "getAuthorizations?limit=0&aggregatorDid=" + string(alice): 400,
		"getAuthorizations?cursor=x&aggregatorDid=" + string(alice): 400, "listForCommunity": 400, "listForCommunity?community=nobody.example.com": 404,
	} {
		if got := a.do(call{verb: "GET", path: Prefix + "social.coves.aggregator." + query}); got.status != status {
			t.Errorf("%.60s: %d %s, want %d", query, got.status, got.body, status)
		}
	}
}

// TestAuthorizationPages holds that pages end where the next one begins.
func TestAuthorizationPages(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	all := map[string]int{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		community := syntax.DID("did:plc:community" + strings.Repeat(name, 15))
		a.apply(community, index.AuthorizationCollection, "x", map[string]any{"aggregatorDid": string(alice), "communityDid": string(community), "enabled": true,
			"createdAt": "2026-01-02T03:04:05Z", "createdBy": string(bob)})
	}
	query := "social.coves.aggregator.getAuthorizations?limit=2&aggregatorDid=" + string(alice)
	cursor := ""
	for range 4 {
		page := a.fields(a.do(call{verb: "GET", path: Prefix + query + cursor}))
		for _, one := range page["authorizations"].([]any) {
			all[one.(map[string]any)["communityDid"].(string)]++
		}
		next, _ := page["cursor"].(string)
		if next == "" {
			break
		}
		cursor = "&cursor=" + next
	}
	if len(all) != 5 {
		t.Errorf("met %v, want five", all)
	}
	for did, n := range all {
		if n != 1 {
			t.Errorf("met %s %d times", did, n)
		}
	}
}
