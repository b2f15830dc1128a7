package xrpc

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
)

// hosting makes one account, commons, at the desk.
type hosting struct {
	desk *desk
	key  string
}

func (h *hosting) Hosts(_ context.Context, did syntax.DID) (bool, error) { return did == commons, nil }

func (h *hosting) Provision(ctx context.Context, req account.Request) (account.Hosted, error) {
	if h.key != "" && h.key != req.Key {
		return account.Hosted{}, fault.New(fault.Conflict, "The name is taken.").WithCode("NameTaken")
	}
	raw, err := json.Marshal(req.Record)
	if err != nil {
		return account.Hosted{}, err
	}
	record, err := atdata.UnmarshalJSON(raw)
	if err != nil {
		return account.Hosted{}, err
	}
	h.key = req.Key
	done, err := h.desk.Put(ctx, agent.Actor{DID: commons}, agent.Put{Write: agent.Write{
		Collection: index.CommunityCollection, RKey: "self", Record: record}})
	return account.Hosted{DID: commons, Handle: "commons.example.com", URI: done.URI, CID: done.CID, Rev: done.Rev}, err
}

const (
	createCommunityMethod = "social.coves.community.create"
	updateCommunityMethod = "social.coves.community.update"
)

func TestCommunityCreateAndUpdate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cookie := a.signIn("", alice)
	body := `{"name":"commons","displayName":"The Commons","contentWarnings":["nsfw"],"more":true}`
	made := a.fields(a.post(createCommunityMethod, cookie, body, IdempotencyHeader, "k"))
	again := a.fields(a.post(createCommunityMethod, cookie, body, IdempotencyHeader, "k"))
	if made["did"] != string(commons) || made["handle"] != "commons.example.com" || made["cid"] != again["cid"] ||
		made["uri"] != "at://"+string(commons)+"/social.coves.community.profile/self" {
		t.Errorf("made %v, again %v", made, again)
	}
	if got := a.post(createCommunityMethod, cookie, `{"name":"commons"}`); got.status != 409 || got.Error != "NameTaken" {
		t.Errorf("the name again: %d %s", got.status, got.Error)
	}
	for _, body := range []string{
		`{"community":"!commons.example.com","name":"commons","description":"new","displayName":null}`,
		`{"communityDid":"` + string(commons) + `","visibility":"unlisted"}`,
	} {
		if done := a.fields(a.post(updateCommunityMethod, cookie, body)); done["did"] != string(commons) || done["cid"] == made["cid"] {
			t.Errorf("%s: %v", body, done)
		}
	}
	is := a.desk.records[pds.Place{Repo: commons, Collection: index.CommunityCollection, RKey: "self"}]
	if is["description"] != "new" || is["displayName"] != nil || is["visibility"] != "unlisted" || is["createdBy"] != string(alice) ||
		is["hostedBy"] != "did:web:app.example.com" || is["contentWarnings"] == nil {
		t.Errorf("profile %v", is)
	}
}

// TestCommunityBadInput holds that bad input has its status and name, that a
// client cannot say who hosts a community (H7), and that nothing is written.
func TestCommunityBadInput(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	cookie := a.signIn("", alice)
	both := []struct {
		fields string
		status int
		code   string
	}{
		{`"hostedBy":"did:web:evil.example.com"`, 400, "InvalidRequest"},
		{`"hostedBy":null`, 400, "InvalidRequest"},
		{`"createdBy":"` + string(bob) + `"`, 400, "InvalidRequest"},
		{`"displayName":7`, 400, "InvalidRequest"},
		{`"displayName":"` + strings.Repeat("x", 129) + `"`, 400, "ContentTooLong"},
		{`"description":"` + strings.Repeat("x", 1001) + `"`, 400, "ContentTooLong"},
		{`"descriptionFacets":{}`, 400, "InvalidRequest"},
		{`"visibility":"secret"`, 400, "InvalidRequest"},
		{`"moderationType":"anarchy"`, 400, "InvalidRequest"},
		{`"contentWarnings":"nsfw"`, 400, "InvalidRequest"},
		{`"contentWarnings":["boring"]`, 400, "InvalidRequest"},
		{`"avatarBlob":"AAAA"`, 400, "InvalidRequest"},
		{`"bannerBlob":"` + strings.Repeat("A", 9<<20) + `"`, 413, "RequestTooLarge"},
	}
	for _, tt := range both {
		for method, begin := range map[string]string{createCommunityMethod: `{"name":"tools",`, updateCommunityMethod: `{"community":"` + string(commons) + `",`} {
			if got := a.post(method, cookie, begin+tt.fields+`}`); got.status != tt.status || got.Error != tt.code {
				t.Errorf("%s %.60s: %d %s (%s), want %d %s", method, tt.fields, got.status, got.Error, got.Words, tt.status, tt.code)
			}
		}
	}
	for _, tt := range []struct {
		method, body string
		status       int
		code         string
	}{
		{createCommunityMethod, ``, 400, "InvalidRequest"}, {createCommunityMethod, `{}`, 400, "InvalidRequest"},
		{createCommunityMethod, `{"name":"No Good"}`, 400, "InvalidRequest"}, {createCommunityMethod, `{"name":["x"]}`, 400, "InvalidRequest"},
		{updateCommunityMethod, `{}`, 400, "InvalidRequest"}, {updateCommunityMethod, `{"community":"x y"}`, 400, "InvalidRequest"},
		{updateCommunityMethod, `{"community":"` + string(commons) + `","communityDid":"` + string(bob) + `"}`, 400, "InvalidRequest"},
		{updateCommunityMethod, `{"community":"` + string(commons) + `","name":"other"}`, 400, "InvalidRequest"},
		{updateCommunityMethod, `{"community":"nobody.example.com"}`, 404, "CommunityNotFound"},
		{updateCommunityMethod, `{"community":"` + string(alice) + `"}`, 403, "NotAuthorized"},
	} {
		if got := a.post(tt.method, cookie, tt.body); got.status != tt.status || got.Error != tt.code {
			t.Errorf("%s %s: %d %s (%s), want %d %s", tt.method, tt.body, got.status, got.Error, got.Words, tt.status, tt.code)
		}
	}
	other := a.signIn("", bob)
	got := a.do(call{verb: "POST", path: Prefix + updateCommunityMethod, cookie: other, body: `{"community":"` + string(commons) + `","displayName":"x"}`,
		headers: []string{"Origin", origin, "Sec-Fetch-Site", "same-origin", ActingHeader, string(bob)}})
	if got.status != 403 || got.Error != "NotAuthorized" {
		t.Errorf("somebody else: %d %s", got.status, got.Error)
	}
	for _, method := range []string{createCommunityMethod, updateCommunityMethod} {
		if got := a.post(method, "", `{}`); got.status != 401 || got.Error != "AuthRequired" {
			t.Errorf("%s by a visitor: %d %s", method, got.status, got.Error)
		}
	}
	if len(a.desk.actors) != 0 {
		t.Errorf("wrote %d times", len(a.desk.actors))
	}
}
