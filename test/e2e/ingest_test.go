package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// TestIngestCommands: what an operator sees and mends, beside the running
// server: sources, a dead letter, a repository that does not agree.
func TestIngestCommands(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	first, second := inst.network.NewAccount(t, 0), inst.network.NewAccount(t, 1)
	awaitStream(t, inst, first, commons)
	run := func(code int, args ...string) string {
		t.Helper()
		out, got := inst.command(append([]string{"ingest"}, args...)...)
		if got != code {
			t.Errorf("atoll ingest %v: %d, want %d\n%s", args, got, code, out)
		}
		return out
	}
	says := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("output:\n%s\nwant %q in it", out, w)
			}
		}
	}
	b := inst.browser()
	ready := func(want string) func() bool {
		return func() bool { return strings.Contains(b.get("/readyz").body, want) }
	}
	says(run(0, "status"), "a process ingests", inst.network.PDS[0].URL, inst.network.PDS[1].URL, "BEHIND", "EVENTS/MIN", "dead letters           0")
	says(run(0, "dead"), "no dead letters")
	says(run(0, "retry"), "no dead letters")

	inst.exec(`CREATE UNIQUE INDEX poison ON post (cid)`)
	record := map[string]any{"community": commons.DID, "title": "twin " + network.Name("x"), "createdAt": now()}
	for _, author := range []network.Account{first, second} {
		client, err := inst.network.SignInWithPassword(t.Context(), author)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CreateRecord(t.Context(), postCollection, "", record); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the dead letter in /readyz", ready(`"degraded":["dead_letters"]`))
	list := run(0, "dead")
	says(list, "UNIQUE", postCollection)
	id, _, _ := strings.Cut(strings.Split(list, "\n")[1], " ")
	says(run(1, "retry", id), "1 refused", "atoll ingest dead")
	says(run(0, "status"), "dead letters           1")
	inst.exec(`DROP INDEX poison`)
	says(run(0, "retry"), "1 applied")
	says(run(0, "retry", id), "1 absent")
	eventually(t, "no dead letter in /readyz", ready(`"status":"ready"`))

	says(run(0, "verify", first.DID, second.DID), first.DID, second.DID)
	inst.exec(`DELETE FROM post WHERE author_id = (SELECT id FROM account WHERE did = '` + first.DID + `')`)
	says(run(1, "verify", first.DID), "atoll ingest backfill")
	says(run(0, "backfill", first.DID), "1 of 1 done")
	says(run(0, "verify", first.DID), first.DID)
	for _, mistake := range [][]string{{"verify", "alice"}, {"backfill"}, {"backfill", first.DID, "--source", "https://x.example"}} {
		run(1, mistake...)
	}
}

// TestAFullDisk: while nothing can be written the process is not ready and
// skips nothing, and it goes on by itself.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	author := inst.network.NewAccount(t, 1)
	awaitStream(t, inst, author, commons)
	b := inst.browser()
	limit := func(bytes string) {
		t.Helper()
		// No file may grow beyond that; SQLite is told so as by a full disk.
		cmd := exec.Command("prlimit", "--pid", strconv.Itoa(inst.cmd.Process.Pid), "--fsize="+bytes+":unlimited")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("prlimit: %v\n%s", err, out)
		}
	}
	limit("1")
	var titles []string
	for n := range 3 {
		titles = append(titles, fmt.Sprintf("full %d %s", n, network.Name("x")))
		writeDirectly(t, inst.network, author, commons, titles[n])
	}
	eventually(t, "not ready", func() bool {
		a := b.get("/readyz")
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, `"failing":["storage"]`)
	})
	if a := b.get("/discover"); a.status != http.StatusOK {
		t.Errorf("reading on a full disk: %d, want 200", a.status)
	}
	limit("unlimited")
	eventually(t, "ready again", func() bool { return b.get("/readyz").status == http.StatusOK })
	for _, title := range titles {
		eventually(t, "what was written meanwhile", func() bool {
			_, uris := discover(t, b, title)
			return len(uris) == 1
		})
	}
}
