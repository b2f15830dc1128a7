package login_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// outputs gathers all that leaves the package: results, cookies, errors, logs.
type outputs struct {
	mu sync.Mutex
	bytes.Buffer
}

func (o *outputs) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.Write(p)
}

// S24: whatever happens during a sign-in, no token, verifier or code shows up
// in a result, cookie, error, log line or audit row.
func TestNoSecretLeavesASignIn(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	out := &outputs{}
	i.Service = i.service(httpserver.LimiterConfig{Every: 1, Burst: 1000}, out)
	b := i.browser()
	for _, mishap := range []func(){
		func() {},
		func() { i.pds.fail["/oauth/token"] = "html" },
		func() { delete(i.pds.fail, "/oauth/token"); i.pds.subject = bob.String() },
		func() { i.pds.subject = ""; i.pds.tokenType = "Bearer" },
		func() { i.pds.tokenType = ""; i.pds.scope = "nothing" },
		func() {
			i.pds.scope = ""
			i.pds.fail["/oauth/revoke"] = "500"
			i.exec(`ALTER TABLE audit RENAME TO audit_gone`)
		},
	} {
		mishap()
		started, err := i.Start(t.Context(), login.Start{Identifier: "alice.example", Addr: b.addr, Cookies: b.sent()})
		i.must(err)
		b.set(started.Cookies)
		fmt.Fprintf(out, "%+v %v\n", started, err)
		outcome, err := b.comeBack(i.pds.approve(started.URL))
		fmt.Fprintf(out, "%+v %+v %v\n", outcome, outcome.Cookies, err)
	}
	i.exec(`ALTER TABLE audit_gone RENAME TO audit`)
	trail, err := i.sessions.Trail(t.Context(), alice, 100)
	i.must(err)
	fmt.Fprintf(out, "%+v\n", trail)
	if len(trail) < 5 || len(i.pds.issued) < 5 {
		t.Fatalf("%d audit rows, %d tokens issued: the test tests nothing", len(trail), len(i.pds.issued))
	}
	for _, canary := range []string{"canary-access", "canary-refresh", "code-", "verifier"} {
		if n := strings.Count(out.String(), canary); n != 0 {
			t.Errorf("%q shows up %d times in:\n%s", canary, n, out.String())
		}
	}
}
