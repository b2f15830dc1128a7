package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// TestOnPostgreSQL: the same program with one URL more (O1), whose sessions
// survive a restart and a kill.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{
		confidential: true, database: storetest.CreateDatabase(t, "TEMPLATE template0"),
		env: map[string]string{"ATOLL_SECRET_KEY": newKey(t)},
	})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(account)
	inst.restart()
	inst.kill()
	inst.launch()
	if status, did, _ := b.me(); status != http.StatusOK || did != account.DID {
		t.Errorf("after a restart and a kill: /api/me %d %s, want 200 %s", status, did, account.DID)
	}
	commons := community(t, inst.network)
	awaitStream(t, inst, account, commons)
	if out, code := inst.command("keys", "list"); code != 0 {
		t.Errorf("keys list beside the server: %d\n%s", code, out)
	}
}

// TestTwoProcessesShowTheSame: what one process writes is on the pages of the
// other a moment later, and a reader may turn each page at another of them, also
// after a restart (F3).
func TestTwoProcessesShowTheSame(t *testing.T) {
	t.Parallel()
	one := shape{confidential: true, database: storetest.CreateDatabase(t, "TEMPLATE template0"), env: map[string]string{"ATOLL_SECRET_KEY": newKey(t)}}
	a := start(t, one)
	other := one
	other.env = map[string]string{"ATOLL_SECRET_KEY": one.env["ATOLL_SECRET_KEY"], "ATOLL_PUBLIC_URL": a.origin(), "ATOLL_ROLES": "web"}
	b := start(t, other)
	author, commons := a.network.NewAccount(t, 0), community(t, a.network)
	here, there := a.browser(), b.browser()
	var titles []string
	for range 8 {
		title := "shared " + network.Name("x")
		titles = append(titles, title)
		writeDirectly(t, a.network, author, commons, title)
		eventually(t, "the post here", func() bool { _, uris := discover(t, here, title); return len(uris) == 1 })
		// 250 ms are promised; the bound is 20 times that.
		took := eventually(t, "the post there", func() bool { n, uris := discover(t, there, title); return n == 1 && len(uris) == 1 })
		t.Logf("there after %s", took)
	}
	seen := map[string]int{}
	cursor := ""
	for n := 0; ; n++ {
		reader := []*browser{here, there}[n%2]
		if n == 2 {
			b.restart()
		}
		page := reader.get("/xrpc/social.coves.feed.getDiscover?" + url.Values{
			"sort": {"new"}, "limit": {"3"}, "cursor": {cursor}}.Encode())
		for _, title := range titles {
			seen[title] += strings.Count(page.body, `"title":"`+title+`"`)
		}
		var out struct{ Cursor string }
		if err := json.Unmarshal([]byte(page.body), &out); err != nil || page.status != http.StatusOK {
			t.Fatalf("page %d: %d %s", n, page.status, page.body)
		}
		if cursor = out.Cursor; cursor == "" {
			break
		}
	}
	for _, title := range titles {
		if seen[title] != 1 {
			t.Errorf("%q was on %d pages, want one", title, seen[title])
		}
	}
}
