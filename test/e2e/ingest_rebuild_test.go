package e2e

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// TestAnIndexFromNothing: an operator with an empty database and no source brings
// in what two servers hold, beside the running program, sees what was passed over
// and why, and can check it.
func TestAnIndexFromNothing(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	commons := community(t, n)
	first, second := n.NewAccount(t, 0), n.NewAccount(t, 1)
	titles := []string{"early " + network.Name("x"), "early " + network.Name("y")}
	for i, author := range []network.Account{first, second} {
		writeDirectly(t, n, author, commons, titles[i])
		client, err := n.SignInWithPassword(t.Context(), author)
		if err != nil {
			t.Fatal(err)
		}
		malformed := map[string]any{"community": "nobody", "title": "malformed", "createdAt": now()}
		if _, err := client.CreateRecord(t.Context(), postCollection, "", malformed); err != nil {
			t.Fatal(err)
		}
	}
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_SOURCE": unset}})
	b := inst.browser()
	if a := b.get("/discover"); strings.Contains(a.body, titles[0]) || !strings.Contains(a.body, "atoll.toml") {
		t.Error("without a source: posts are there, or nobody says what to do")
	}
	for _, pds := range n.PDS {
		if out, code := inst.command("ingest", "backfill", "--source", pds.URL); code != 0 {
			t.Errorf("backfill from %s: %d\n%s", pds.URL, code, out)
		}
	}
	for _, title := range titles {
		eventually(t, "a post from before", func() bool {
			onPage, uris := discover(t, b, title)
			return onPage == 1 && len(uris) == 1
		})
	}
	if out, code := inst.command("ingest", "verify", first.DID, second.DID); code != 0 || !strings.Contains(out, "MALFORMED") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	// What came in twice is there once, and what is malformed is counted, not lost
	// without a word.
	if out, code := inst.command("ingest", "backfill", first.DID, second.DID); code != 0 || !strings.Contains(out, "2 of 2 done") {
		t.Errorf("backfill again: %d\n%s", code, out)
	}
	for _, title := range titles {
		if onPage, uris := discover(t, b, title); onPage != 1 || len(uris) != 1 {
			t.Errorf("%q is there %d times after the second backfill", title, len(uris))
		}
	}
	out, code := inst.command("ingest", "status")
	for _, want := range []string{"a process ingests", "DROPPED", "dead letters           0"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status: %d, want %q in it\n%s", code, want, out)
		}
	}
	if out, code := inst.command("ingest", "backfill", "--source", "https://nowhere.atoll-tests.net"); code != 1 || !strings.Contains(out, "nowhere.atoll-tests.net") {
		t.Errorf("backfill from a server that is not there: %d\n%s", code, out)
	}
}
