package httpserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

func TestLimiterGivesEachKeyItsBurstAndItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := httpserver.NewLimiter(httpserver.LimiterConfig{Every: time.Second, Burst: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, ok := l.Allow("a"); !ok {
				t.Fatalf("request %d of the burst was refused", i+1)
			}
		}
		for range 10 { // asking too early costs nothing
			if wait, ok := l.Allow("a"); ok || wait != time.Second {
				t.Fatalf("request beyond the burst = %s, %t; want refused for 1s", wait, ok)
			}
		}
		if _, ok := l.Allow("b"); !ok {
			t.Error("another key was refused")
		}
		time.Sleep(time.Second)
		if _, ok := l.Allow("a"); !ok {
			t.Error("request after the wait was refused")
		}
		if _, ok := l.Allow("a"); ok {
			t.Error("two requests after waiting for one")
		}
	})
}

func TestLimiterRemembersABoundedNumberOfKeys(t *testing.T) {
	t.Parallel()
	l, err := httpserver.NewLimiter(httpserver.LimiterConfig{Every: time.Hour, Burst: 1, Keys: 100})
	if err != nil {
		t.Fatal(err)
	}
	granted := 0
	for i := range 10_000 {
		l.Allow(fmt.Sprint(i))
		if _, ok := l.Allow("active"); ok {
			granted++
		}
	}
	if granted != 1 {
		t.Errorf("a key in use was granted %d requests, want 1: it must not be forgotten", granted)
	}
	if _, ok := l.Allow("9999"); ok {
		t.Error("the newest key was forgotten")
	}
	if _, ok := l.Allow("0"); !ok {
		t.Error("the oldest of 10,000 keys is remembered, want 100 at most")
	}
}

// Somebody who owns a network gets little more than somebody with an address.
func TestAddressesShareTheBudgetOfTheirNetwork(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		addr func(i int) string
		want int // of 2,000 requests
	}{
		{"one IPv4 address", func(int) string { return "198.51.100.7" }, 2},
		{"one IPv4 address, mapped", func(int) string { return "::ffff:198.51.100.7" }, 2},
		{"an IPv4 /24", func(i int) string { return fmt.Sprintf("198.51.100.%d", i%256) }, 32},
		{"an IPv6 /64", func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i) }, 2},
		{"an IPv6 /48", func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, 32},
		{"no address", func(int) string { return "" }, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, err := httpserver.NewAddrLimiter(httpserver.LimiterConfig{Every: time.Hour, Burst: 2})
				if err != nil {
					t.Fatal(err)
				}
				granted := 0
				for i := range 2000 {
					addr, _ := netip.ParseAddr(test.addr(i))
					if _, ok := l.Allow(addr); ok {
						granted++
					}
				}
				if granted != test.want {
					t.Errorf("granted %d requests, want %d", granted, test.want)
				}
			})
		})
	}
}

func TestLimitAddrCannotBeEscapedByAForgedHeader(t *testing.T) {
	t.Parallel()
	l, err := httpserver.NewAddrLimiter(httpserver.LimiterConfig{Every: time.Hour, Burst: 2})
	if err != nil {
		t.Fatal(err)
	}
	h := httpserver.Chain(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		httpserver.RealAddr([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}),
		httpserver.LimitAddr(l, httpserver.RenderText))
	statuses := map[int]int{}
	for i := range 10 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "198.51.100.7:1"
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		statuses[w.Code]++
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if statuses[200] != 2 || statuses[429] != 8 {
		t.Errorf("statuses = %v, want 2 granted and 8 refused", statuses)
	}
}

func TestLimiterConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, cfg := range []httpserver.LimiterConfig{{}, {Every: 1}, {Burst: 1}, {Every: 1, Burst: 1, Keys: -1}} {
		if _, err := httpserver.NewLimiter(cfg); err == nil {
			t.Errorf("NewLimiter(%+v) succeeded", cfg)
		}
		if _, err := httpserver.NewAddrLimiter(cfg); err == nil {
			t.Errorf("NewAddrLimiter(%+v) succeeded", cfg)
		}
	}
}

// Handlers are told by a fault what is left, and nothing is limited without a limit.
func TestSpend(t *testing.T) {
	t.Parallel()
	cfg := httpserver.LimiterConfig{Every: time.Hour, Burst: 1}
	limiter, err := httpserver.NewLimiter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := httpserver.NewAddrLimiter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, spend := range map[string]func() error{
		"key":     func() error { return limiter.Spend("a") },
		"address": func() error { return addrs.Spend(netip.MustParseAddr("192.0.2.1")) },
	} {
		if err := spend(); err != nil {
			t.Errorf("%s, first: %v", name, err)
		}
		err := spend()
		if f := fault.From(err); err == nil || f.Kind != fault.Limited || f.Code != "RateLimitExceeded" || f.RetryAfter <= 59*time.Minute {
			t.Errorf("%s, second: %v, want the fault with an hour to wait", name, err)
		}
	}
	if err := limiter.Spend("b"); err != nil {
		t.Errorf("another key: %v", err)
	}
	var none *httpserver.Limiter
	if err := none.Spend("a"); err != nil {
		t.Errorf("no limiter: %v", err)
	}
}
