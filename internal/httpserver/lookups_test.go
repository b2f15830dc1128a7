package httpserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

func from(addr string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = addr + ":1234"
	return r
}

// TestLookUps holds the bound of one address, and that of all strangers, which
// keeps out no member.
func TestLookUps(t *testing.T) {
	t.Parallel()
	l, err := httpserver.NewLookUps(httpserver.LimiterConfig{Every: time.Hour, Burst: 3}, httpserver.LimiterConfig{Every: time.Hour, Burst: 10})
	if err != nil {
		t.Fatal(err)
	}
	ask := l.Of(from("192.0.2.1"), false)
	for n := range 5 {
		if err := ask(); (err == nil) != (n < 3) || err != nil && fault.KindOf(err) != fault.Limited {
			t.Errorf("look-up %d of one address: %v", n, err)
		}
	}
	strangers := 3
	for n := range 20 {
		switch err := l.Of(from(fmt.Sprintf("198.51.%d.1", n)), false)(); {
		case err == nil:
			strangers++
		case fault.KindOf(err) != fault.Unavailable || fault.From(err).RetryAfter <= 0:
			t.Errorf("a stranger: %v, want unavailable, and when to come back", err)
		}
	}
	if strangers != 10 {
		t.Errorf("%d look-ups for strangers, want 10", strangers)
	}
	if err := l.Of(from("203.0.113.1"), true)(); err != nil {
		t.Errorf("a member is kept out by strangers: %v", err)
	}
	var none *httpserver.LookUps
	if err := none.Of(from("192.0.2.1"), false)(); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}
