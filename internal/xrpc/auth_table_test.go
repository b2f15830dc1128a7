package xrpc

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/servicetoken"
)

// fakeServices takes tokens for alice and the method that they are for.
type fakeServices struct {
	asked []string
	fail  error
}

func (f *fakeServices) Verify(_ context.Context, token string, method syntax.NSID, write bool, _ func() error) (servicetoken.Caller, error) {
	f.asked = append(f.asked, method.String())
	if write {
		f.asked[len(f.asked)-1] += " write"
	}
	if f.fail != nil || !strings.Contains(token, ".") {
		return servicetoken.Caller{}, f.fail
	}
	return servicetoken.Caller{DID: alice, Handle: "alice.example.com"}, nil
}

// serviceToken looks like one for every method; who judges it is a fake.
func serviceToken() string { return jwt(`{"iss":"` + string(alice) + `","lxm":"any"}`) }

// TestEveryRouteSaysWhatItTakes holds A9's table: no method is without a line,
// no line without a method.
func TestEveryRouteSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for nsid := range a.methods {
		if accepted[nsid] == 0 {
			t.Errorf("%s has no line in the table of auth_table.go: say which proofs of who asks it takes", nsid)
		}
	}
	for nsid := range accepted {
		if _, ok := a.methods[nsid]; !ok && nsid != mePath {
			t.Errorf("the table has %s, which is no method", nsid)
		}
	}
}

// TestTableHolds tries every proof at every method: what the table does not have
// is refused, and what it has is not.
func TestTableHolds(t *testing.T) {
	t.Parallel()
	services := &fakeServices{}
	a := newAPI(t, func(c *Config) { c.Services = services })
	cookie := a.signIn("", alice)
	own := []string{"Origin", origin, "Sec-Fetch-Site", "same-origin", ActingHeader, string(alice)}
	for nsid, m := range a.methods {
		path := Prefix + nsid.String()
		proofs := map[proof]call{
			byCookie:  {verb: m.verb, path: path, body: "{}", cookie: cookie, headers: own},
			byService: {verb: m.verb, path: path, body: "{}", headers: []string{"Authorization", "Bearer " + serviceToken()}},
			byKey:     {verb: m.verb, path: path, body: "{}", headers: []string{"Authorization", "Bearer ckapi_" + strings.Repeat("0", 64)}},
			byApp:     {verb: m.verb, path: path, body: "{}", headers: []string{"Authorization", "Bearer abc"}},
		}
		for p, c := range proofs {
			services.asked = nil
			got := a.do(c)
			wrong := p == byKey || p == byApp // no good one of these
			if refused := got.status == http.StatusUnauthorized; refused != (wrong || m.takes()&p == 0) {
				t.Errorf("%s with proof %d: %d %s", nsid, p, got.status, got.body)
			}
			want := p == byService && m.takes()&byService != 0
			if want != (len(services.asked) == 1) || want && services.asked[0] != nsid.String()+map[bool]string{true: " write"}[m.verb == http.MethodPost] {
				t.Errorf("%s with proof %d: judged %q", nsid, p, services.asked)
			}
		}
	}
}

// TestServiceTokens holds A9: a token of the member's server proves who asks, and
// what is written goes by the member's newest session, since there is none here.
func TestServiceTokens(t *testing.T) {
	t.Parallel()
	services := &fakeServices{}
	a := newAPI(t, func(c *Config) { c.Services = services })
	create := func(headers ...string) answer {
		return a.do(call{verb: "POST", path: "/xrpc/social.coves.community.post.create", headers: headers,
			body: `{"community":"commons.example.com","title":"t","author":"` + string(bob) + `","did":"` + string(bob) + `"}`})
	}
	bearer := "Bearer " + serviceToken()
	if got := create("Authorization", bearer, ActingHeader, string(bob)); got.status != 200 {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	if len(a.desk.actors) != 1 || a.desk.actors[0].DID != alice || a.desk.actors[0].SessionID != "" {
		t.Errorf("wrote as %+v, want alice without a session", a.desk.actors)
	}
	if got := create("Authorization", "DPoP "+serviceToken()); got.status != 401 {
		t.Errorf("another scheme: %d %s", got.status, got.body)
	}
	services.fail = fault.New(fault.Unauthenticated, "The service token has expired.").WithCode("AuthRequired")
	if got := create("Authorization", bearer); got.status != 401 || got.Error != "AuthRequired" || !strings.Contains(got.Words, "expired") {
		t.Errorf("a bad token: %d %s", got.status, got.body)
	}
	services.fail = fault.New(fault.Unavailable, "The directory does not answer.")
	if got := create("Authorization", bearer); got.status != 503 {
		t.Errorf("directory down: %d %s", got.status, got.body)
	}
	if got := a.do(call{verb: "GET", path: "/api/me", headers: []string{"Authorization", bearer}}); got.status != 401 {
		t.Errorf("me: %d %s", got.status, got.body)
	}
	if len(a.desk.actors) != 1 {
		t.Errorf("wrote as %+v", a.desk.actors)
	}
}
