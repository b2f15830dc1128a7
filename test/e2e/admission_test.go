package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/test/network"
)

// standing asks an instance how a post stands.
func (i *instance) standing(uri string) string {
	i.t.Helper()
	a := i.browser().get("/xrpc/social.coves.community.post.getStatus?" + url.Values{"uri": {uri}}.Encode())
	var out struct{ Status, Error string }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		i.t.Fatalf("getStatus: %d %s", a.status, a.body)
	}
	return out.Status + out.Error
}

// listed are the posts of a community, as an instance lists them.
func (i *instance) listed(community string) (titles []string) {
	i.t.Helper()
	a := i.browser().get("/xrpc/social.coves.communityFeed.getCommunity?" + url.Values{"community": {community}, "sort": {"new"}}.Encode())
	var out struct {
		Feed []struct {
			Post struct{ Record struct{ Title string } }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		i.t.Fatalf("getCommunity: %d %s", a.status, a.body)
	}
	for _, item := range out.Feed {
		titles = append(titles, item.Post.Record.Title)
	}
	slices.Sort(titles)
	return titles
}

// TestTwoInstances holds C6 between servers: a member of one PDS posts to a
// community that another instance hosts, through a third party's instance and
// straight to their PDS; the host admits both, and both instances show the same.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	one, two := start(t, shape{confidential: true}), start(t, shape{confidential: true, env: map[string]string{"ATOLL_HOSTING_PDS_URL": unset,
		"ATOLL_HOSTING_PDS_ADMIN_PASSWORD": unset, "ATOLL_HOSTING_HANDLE_DOMAIN": unset}})
	two.hosts[one.host] = one.addr
	two.restart()
	founder, member := one.client(0), two.client(1)
	name := network.Name("town")
	made := founder.call("social.coves.community.create", `{"name":"`+name+`","displayName":"The Town"}`)
	did := made["did"].(string)
	if made["handle"] != name+one.network.PDS[0].HandleDomain {
		t.Errorf("made %v", made)
	}
	if a := member.send("social.coves.community.create", `{"name":"`+name+`"}`, "application/json"); a.status != http.StatusForbidden ||
		!strings.Contains(a.body, "CommunityCreationRestricted") {
		t.Errorf("where nothing is hosted: %d %s", a.status, a.body)
	}
	// At home it is quick.
	home := founder.call("social.coves.community.post.create", `{"community":"!`+name+"@"+one.host+`","title":"home"}`)
	took := eventually(t, "admission at home", func() bool { return one.standing(home["uri"].(string)) == "accepted" })
	t.Logf("admitted at home within %s", took)
	// The other instance knows the community by its verified name before long.
	byName := "!" + name + "@" + one.host
	eventually(t, "the community's name elsewhere", func() bool {
		return member.get("/xrpc/social.coves.communityFeed.getCommunity?"+url.Values{"community": {byName}}.Encode()).status == http.StatusOK
	})
	member.call("social.coves.community.subscribe", `{"community":"`+byName+`","contentVisibility":4}`)
	through := member.call("social.coves.community.post.create", `{"community":"`+made["handle"].(string)+`","title":"through the other instance"}`)
	writeDirectly(t, two.network, member.member, network.Account{DID: did}, "straight to the PDS")
	want := []string{"home", "straight to the PDS", "through the other instance"}
	for _, i := range []*instance{one, two} {
		eventually(t, "admission at "+i.host, func() bool { return cmp.Equal(want, i.listed(did)) })
		if got := i.standing(through["uri"].(string)); got != "accepted" {
			t.Errorf("%s: the post is %s", i.host, got)
		}
	}
	operate(t, one, two, member, did)
	// An edit is admitted anew, and an update of the community arrives.
	member.call("social.coves.community.post.update", `{"uri":"`+through["uri"].(string)+`","title":"edited"}`)
	founder.call("social.coves.community.update", `{"community":"`+did+`","description":"About."}`)
	want = []string{"edited", "home", "straight to the PDS"}
	for _, i := range []*instance{one, two} {
		eventually(t, "an edit at "+i.host, func() bool {
			return cmp.Equal(want, i.listed(did)) && i.standing(through["uri"].(string)) == "accepted"
		})
	}
}

// operate has the operator of one change the policy, approve, ban and unban,
// and sees what two shows of it.
func operate(t *testing.T, one, two *instance, member client, did string) {
	t.Helper()
	says := func(want string, args ...string) {
		t.Helper()
		if out, code := one.command(append([]string{"communities"}, args...)...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("communities %v: %d, want %q in\n%s", args, code, want, out)
		}
	}
	everywhere := func(uri, want string) {
		t.Helper()
		for _, i := range []*instance{one, two} {
			eventually(t, uri+" "+want+" at "+i.host, func() bool { return i.standing(uri) == want })
		}
	}
	post := func(title string) string {
		t.Helper()
		return member.call("social.coves.community.post.create", `{"community":"`+did+`","title":"`+title+`"}`)["uri"].(string)
	}
	says("open", "list")
	says("when a moderator has approved", "policy", did, "approval", "--review-edits")
	waiting := post("waiting")
	eventually(t, "a post that waits", func() bool {
		out, _ := one.command("communities", "waiting", did)
		return strings.Contains(out, waiting)
	})
	out, _ := one.command("communities", "waiting", did)
	fields := strings.Fields(out[strings.Index(out, waiting):])
	says("accepted", "approve", waiting, fields[1])
	everywhere(waiting, "accepted")
	says("removed", "remove", waiting, "off-topic", "--reason", "Elsewhere.")
	everywhere(waiting, "removed")
	says("banned", "ban", did, member.member.DID, "--reason", "For a test.", "--for", "1h")
	// By another client: the member's own instance refuses it as soon as it hears of the ban.
	banned := writeDirectly(t, two.network, member.member, network.Account{DID: did}, "banned")
	everywhere(banned.URI, "removed")
	says("not banned", "unban", did, member.member.Handle)
	says("Everybody", "policy", did, "open")
	says("open", "list")
	if out, code := one.command("communities", "policy", member.member.DID, "open"); code == 0 {
		t.Errorf("the policy of a person: %s", out)
	}
}
