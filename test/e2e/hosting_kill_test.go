package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/network"
)

// TestCommunityThroughKills holds H1 for the whole program: the server is killed
// while it makes a community, and the same request to the next one gives that
// community: one account on the PDS, known here, with working credentials.
func TestCommunityThroughKills(t *testing.T) {
	t.Parallel()
	i := start(t, shape{confidential: true})
	c := i.client(1)
	for _, delay := range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 200 * time.Millisecond} {
		name := network.Name("killed")
		header := map[string]string{"Origin": i.origin(), "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json",
			"Atoll-Acting-DID": c.member.DID, "Idempotency-Key": name}
		body := `{"name":"` + name + `"}`
		gone := make(chan struct{})
		go func() { // whoever asks learns nothing
			defer close(gone)
			req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, i.origin()+"/xrpc/social.coves.community.create", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			for _, cookie := range c.cookies {
				req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
			}
			for key, value := range header {
				req.Header.Set(key, value)
			}
			if res, err := c.client.Do(req); err == nil {
				res.Body.Close()
			}
		}()
		<-time.After(delay)
		i.kill()
		<-gone
		i.shape.clockOffset += 2 * time.Minute // what the dead process held is free
		i.launch()
		a := c.do(http.MethodPost, "/xrpc/social.coves.community.create", strings.NewReader(body), header)
		var made struct{ DID, Handle string }
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusOK {
			t.Fatalf("killed after %s, the request again: %d %s", delay, a.status, a.body)
		}
		if res, said := i.wellKnown(made.Handle); res.StatusCode != http.StatusOK || said != made.DID {
			t.Errorf("killed after %s: the handle answers %d %s, want %s", delay, res.StatusCode, said, made.DID)
		}
		out, code := i.command("accounts", "list", "--failed")
		if n := strings.Count(out, made.Handle); code != 0 || n != 1 || !strings.Contains(out, made.DID) {
			t.Errorf("killed after %s: %d accounts of the name\n%s", delay, n, out)
		}
		c.call("social.coves.community.update", `{"community":"`+made.DID+`","description":"After the kill."}`)
	}
}
