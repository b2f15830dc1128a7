package e2e

import (
	"net/http"
	"testing"

	"github.com/atoll-social/atoll/internal/store/storetest"
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
