package xrpc

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/lexicons"
)

// apply puts a record into the index.
func (a *api) apply(did syntax.DID, collection syntax.NSID, key syntax.RecordKey, record map[string]any) {
	a.t.Helper()
	record["$type"] = collection.String()
	commit, drops := a.index.Prepare(did, syntax.NewTIDNow(0), []index.Op{{Action: index.Create, Collection: collection, RKey: key,
		CID: must(agent.RecordCID(record))(a.t), Record: record}})
	if len(drops) > 0 {
		a.t.Fatal(drops)
	}
	err := a.db.Tx(a.t.Context(), func(tx *store.Tx) error {
		_, err := a.index.Apply(a.t.Context(), tx, []index.Commit{commit})
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// found makes commons a community.
func (a *api) found() {
	a.t.Helper()
	a.apply(commons, index.CommunityCollection, "self", map[string]any{"name": "commons", "createdAt": "2026-01-02T03:04:05Z",
		"createdBy": string(alice), "hostedBy": "did:web:example.com"})
}

// post calls a procedure as alice.
func (a *api) post(nsid, cookie, body string, headers ...string) answer {
	a.t.Helper()
	all := append([]string{"Origin", origin, "Sec-Fetch-Site", "same-origin", ActingHeader, string(alice)}, headers...)
	return a.do(call{verb: "POST", path: Prefix + nsid, body: body, cookie: cookie, headers: all})
}

// fields reads an answer that must be good.
func (a *api) fields(got answer) map[string]any {
	a.t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(got.body), &out); err != nil || got.status != 200 {
		a.t.Fatalf("%d %s (%v)", got.status, got.body, err)
	}
	return out
}

// The procedures about communities and people that name nothing else.
const (
	subscribeMethod        = "social.coves.community.subscribe"
	unsubscribeMethod      = "social.coves.community.unsubscribe"
	blockCommunityMethod   = "social.coves.community.blockCommunity"
	unblockCommunityMethod = "social.coves.community.unblockCommunity"
	blockUserMethod        = "social.coves.actor.blockUser"
	unblockUserMethod      = "social.coves.actor.unblockUser"
)

func TestSubscribe(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	cookie := a.signIn("", alice)
	first := a.fields(a.post(subscribeMethod, cookie, `{"community":"!commons.example.com","contentVisibility":99999999999999999999999,"more":1}`))
	again := a.fields(a.post(subscribeMethod, cookie, `{"community":"`+string(commons)+`","contentVisibility":null}`))
	if first["existing"] != false || again["existing"] != true || first["uri"] != again["uri"] || first["cid"] != again["cid"] || first["cid"] == "" {
		t.Errorf("subscribed: %v, again: %v", first, again)
	}
	subs, err := a.index.Subscriptions(t.Context(), alice)
	if err != nil || len(subs) != 1 || subs[0].Visibility != 5 {
		t.Errorf("subscriptions %v, %v", subs, err)
	}
	if got := a.post(unsubscribeMethod, cookie, `{"community":"commons.example.com"}`); got.body != `{"success":true}`+"\n" || len(a.desk.records) != 0 {
		t.Errorf("unsubscribed: %d %s, left %v", got.status, got.body, a.desk.records)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	list := func(method, query string) map[string]any {
		return a.fields(a.do(call{verb: "GET", path: Prefix + method + query, cookie: cookie,
			headers: []string{"Origin", origin, "Sec-Fetch-Site", "same-origin"}}))
	}
	for _, tt := range []struct{ block, unblock, get, body, field, whom string }{
		{blockCommunityMethod, unblockCommunityMethod, "social.coves.community.getBlockedCommunities", `{"community":"@commons.example.com"}`, "communityDid", string(commons)},
		{blockUserMethod, unblockUserMethod, "social.coves.actor.getBlockedUsers", `{"subject":"` + string(commons) + `"}`, "blockedDid", string(commons)},
	} {
		record := a.fields(a.post(tt.block, cookie, tt.body))["block"].(map[string]any)
		page := list(tt.get, "")
		one, _ := page["blocks"].([]any)[0].(map[string]any)
		if page["cursor"] != nil || one[tt.field] != tt.whom || one["recordUri"] != record["recordUri"] || one["recordCid"] != record["recordCid"] || one["blockedAt"] == "" {
			t.Errorf("%s: %v, want %v", tt.get, page, record)
		}
		if got := a.post(tt.unblock, cookie, tt.body); got.body != `{"success":true}`+"\n" {
			t.Errorf("%s: %d %s", tt.unblock, got.status, got.body)
		}
		if left := list(tt.get, "?limit=1")["blocks"].([]any); len(left) != 0 {
			t.Errorf("%s after: %v", tt.get, left)
		}
	}
}

// TestBlockPages holds that pages end where the next one begins, and that a
// cursor is its listing's alone.
func TestBlockPages(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	get := func(method, query, cookie string) answer {
		return a.do(call{verb: "GET", path: Prefix + method + query, cookie: cookie, headers: []string{"Origin", origin, "Sec-Fetch-Site", "same-origin"}})
	}
	for i := range 3 {
		key := syntax.RecordKey(syntax.NewTID(int64(1_700_000_000_000_000+i), 0))
		a.apply(alice, index.PersonBlockCollection, key, map[string]any{"subject": "did:plc:" + strings.Repeat(string(rune('b'+i)), 24), "createdAt": "2026-01-02T03:04:05Z"})
	}
	const users = "social.coves.actor.getBlockedUsers"
	first := a.fields(get(users, "?limit=2", cookie))
	cursor, _ := first["cursor"].(string)
	second := a.fields(get(users, "?limit=2&cursor="+cursor, cookie))
	if len(first["blocks"].([]any)) != 2 || len(second["blocks"].([]any)) != 1 || second["cursor"] != nil {
		t.Errorf("pages %v and %v", first, second)
	}
	for _, tt := range []struct{ method, query, cookie, code string }{
		{"social.coves.community.getBlockedCommunities", "?cursor=" + cursor, cookie, "InvalidCursor"},
		{users, "?cursor=" + cursor, a.signIn("", bob), "InvalidCursor"},
		{users, "?cursor=x", cookie, "InvalidCursor"},
		{users, "?limit=101", cookie, "InvalidRequest"}, {users, "?limit=0", cookie, "InvalidRequest"},
		{users, "?x=%zz", cookie, "InvalidRequest"},
		{users, "", "", "AuthRequired"},
	} {
		if got := get(tt.method, tt.query, tt.cookie); got.Error != tt.code {
			t.Errorf("%s%s: %d %s, want %s", tt.method, tt.query, got.status, got.Error, tt.code)
		}
	}
}

// TestStandsBadInput holds that bad input has its status and name, and writes
// nothing.
func TestStandsBadInput(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	cookie := a.signIn("", alice)
	field := map[string]string{
		subscribeMethod: "community", unsubscribeMethod: "community", blockCommunityMethod: "community",
		unblockCommunityMethod: "community", blockUserMethod: "subject", unblockUserMethod: "subject",
	}
	for method, field := range field {
		missing := map[string]string{"community": "CommunityNotFound", "subject": "ProfileNotFound"}[field]
		for _, tt := range []struct {
			body   string
			status int
			code   string
		}{
			{``, 400, "InvalidRequest"}, {`[]`, 400, "InvalidRequest"}, {`{}`, 400, "InvalidRequest"},
			{`{"` + field + `":7}`, 400, "InvalidRequest"}, {`{"` + field + `":null}`, 400, "InvalidRequest"},
			{`{"` + field + `":"not a handle"}`, 400, "InvalidRequest"},
			{`{"` + field + `":"https://commons.example.com"}`, 400, "InvalidRequest"},
			{`{"` + field + `":"` + strings.Repeat("a", 3000) + `"}`, 400, "InvalidRequest"},
			{`{"` + field + `":"nobody.example.com"}`, 404, missing},
			{`{"x":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "RequestTooLarge"},
		} {
			if got := a.post(method, cookie, tt.body); got.status != tt.status || got.Error != tt.code {
				t.Errorf("%s %.50s: %d %s, want %d %s", method, tt.body, got.status, got.Error, tt.status, tt.code)
			}
		}
		if got := a.post(method, "", `{}`); got.status != 401 || got.Error != "AuthRequired" {
			t.Errorf("%s by a visitor: %d %s", method, got.status, got.Error)
		}
	}
	for _, visibility := range []string{`"3"`, `2.5`, `1e2`, `true`, `{}`} {
		got := a.post(subscribeMethod, cookie, `{"community":"commons.example.com","contentVisibility":`+visibility+`}`)
		if got.status != 400 || got.Error != "InvalidRequest" {
			t.Errorf("visibility %s: %d %s", visibility, got.status, got.Error)
		}
	}
	if got := a.post(subscribeMethod, cookie, `{"community":"`+string(alice)+`"}`); got.status != 404 || got.Error != "CommunityNotFound" {
		t.Errorf("a person: %d %s", got.status, got.Error)
	}
	if got := a.post(blockUserMethod, cookie, `{"subject":"`+string(alice)+`"}`); got.Error != "InvalidSubject" {
		t.Errorf("oneself: %d %s", got.status, got.Error)
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
	a.desk.fail = fault.New(fault.Forbidden, "Scope.").WithCode("MissingScope")
	if got := a.post(subscribeMethod, cookie, `{"community":"commons.example.com"}`); got.status != 403 || got.Error != "MissingScope" {
		t.Errorf("missing scope: %d %s", got.status, got.Error)
	}
	if len(a.desk.records) != 0 {
		t.Errorf("left %v", a.desk.records)
	}
}

// TestSubscriptionOfOtherAccount holds S25 for these methods: a call acts for
// whom it says, or not at all.
func TestSubscriptionOfOtherAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	cookie := a.signIn("", bob)
	if got := a.post(subscribeMethod, cookie, `{"community":"commons.example.com","did":"`+string(bob)+`"}`); got.status == 200 || len(a.desk.actors) != 0 {
		t.Errorf("as alice with bob's cookie: %d %s", got.status, got.body)
	}
}

// TestEveryMethodHasALexicon holds that what is mounted has its contract, with
// the verb that follows from it.
func TestEveryMethodHasALexicon(t *testing.T) {
	t.Parallel()
	a, catalog := newAPI(t), must(lexicons.NewCatalog())(t)
	for _, m := range a.all() {
		schema, err := catalog.Resolve(m.nsid.String())
		if err != nil {
			t.Errorf("%s: %v", m.nsid, err)
			continue
		}
		verb := ""
		switch schema.Def.(type) {
		case lexicon.SchemaQuery:
			verb = "GET"
		case lexicon.SchemaProcedure:
			verb = "POST"
		}
		if verb != m.verb {
			t.Errorf("%s is mounted for %s, its lexicon says %q", m.nsid, m.verb, verb)
		}
	}
}
