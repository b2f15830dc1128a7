package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// TestSessionsAreRenewed: asking who is signed in renews a session that nears
// its end, without waiting (S26); an expired one is renewed by its next use, at
// the official PDS, and the member notices nothing (S29, S31).
func TestSessionsAreRenewed(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(member)

	expiry := func(d time.Duration) { // of tokens that were issued an hour before
		end := time.Now().Add(d)
		inst.exec(fmt.Sprintf(`UPDATE oauth_session SET access_expires_at = %d, refreshed_at = %d, version = version + 1`,
			store.Micros(end), store.Micros(end.Add(-time.Hour))))
	}
	expiry(2 * time.Minute)
	before := inst.refreshed()
	if status, did, _ := b.me(); status != http.StatusOK || did != member.DID {
		t.Fatalf("GET /api/me: %d %s", status, did)
	}
	eventually(t, "a renewal in the background", func() bool { return inst.refreshed() > before })

	expiry(-time.Minute)
	before = inst.refreshed()
	form := formOf(t, b.get("/posts/new"), "/posts", nil)
	form.Set("community", commons.Handle)
	form.Set("title", "after an hour away")
	form.Set("content", "Still here.")
	if a := b.post("/posts", form); a.status != http.StatusSeeOther {
		t.Fatalf("post with an expired token: %d\n%s", a.status, a.body)
	}
	if inst.refreshed() <= before {
		t.Error("the post was written without a renewal")
	}
}

// refreshed is when the newest tokens were issued, in microseconds.
func (i *instance) refreshed() (at int64) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	if err := db.Read().QueryRowContext(i.t.Context(), `SELECT max(refreshed_at) FROM oauth_session`).Scan(&at); err != nil {
		i.t.Fatal(err)
	}
	return at
}
