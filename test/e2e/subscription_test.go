package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/atoll-social/atoll/test/size"
)

// subscribers is the count that everybody sees.
func (c client) subscribers(did string) (n int64) {
	c.t.Helper()
	a := c.get("/xrpc/social.coves.community.get?" + url.Values{"community": {did}}.Encode())
	var out struct{ SubscriberCount int64 }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		c.t.Fatalf("community.get: %d %s", a.status, a.body)
	}
	return out.SubscriberCount
}

// TestManySubscriptions holds C3 at an official server: a hundred requests to
// follow and not to follow, at once, end with one record or none, and the count
// says so, also when the copies have come by the stream.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_LIMITS_WRITES_PER_MINUTE": "100000"}})
	commons := community(t, inst.network)
	member := inst.client(1)
	body := `{"community":"` + commons.DID + `"}`
	eventually(t, "the community", func() bool {
		return member.get("/xrpc/social.coves.community.get?"+url.Values{"community": {commons.DID}}.Encode()).status == http.StatusOK
	})
	first := member.call("social.coves.community.subscribe", body)
	if again := member.call("social.coves.community.subscribe", body); first["existing"] != false || again["existing"] != true || again["uri"] != first["uri"] {
		t.Errorf("subscribed %v, again %v", first, again)
	}
	var all sync.WaitGroup
	for i := range size.Size(30, 100) {
		method := "social.coves.community.subscribe"
		if i%3 == 0 {
			method = "social.coves.community.unsubscribe"
		}
		tab := client{&browser{t: t, inst: inst, client: member.client, cookies: maps.Clone(member.cookies)}, member.member}
		all.Go(func() {
			if a := tab.send(method, body, "application/json"); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
		})
	}
	all.Wait()
	left := member.records("social.coves.community.subscription")
	if n := member.subscribers(commons.DID); left > 1 || n != int64(left) {
		t.Errorf("%d subscribers, %d records", n, left)
	}
	awaitStream(t, inst, member.member, commons)
	if n := member.subscribers(commons.DID); n != int64(left) {
		t.Errorf("after the stream: %d subscribers, %d records", n, left)
	}
	member.call("social.coves.community.unsubscribe", body)
	if n := member.subscribers(commons.DID); n != 0 || member.records("social.coves.community.subscription") != 0 {
		t.Errorf("at the end: %d subscribers", n)
	}
}
