package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/atoll-social/atoll/internal/httpserver"
)

// through returns the client's address as a handler behind RealAddr sees it.
func through(t *testing.T, trusted []netip.Prefix, peer string, forwarded ...string) string {
	t.Helper()
	var got netip.Addr
	h := httpserver.RealAddr(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = httpserver.ClientAddr(r)
		for name := range r.Header {
			t.Errorf("header %s reached the handler", name)
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = peer
	for _, line := range forwarded {
		r.Header.Add("X-Forwarded-For", line)
	}
	r.Header.Set("X-Real-IP", "6.6.6.6")
	r.Header.Set("Forwarded", "for=6.6.6.6")
	r.Header.Set("X-Forwarded-Proto", "https")
	h.ServeHTTP(httptest.NewRecorder(), r)
	return got.String()
}

func TestRealAddr(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
	}
	tests := []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "198.51.100.7:1234", nil, "198.51.100.7"},
		{"forged by a stranger", "198.51.100.7:1234", []string{"1.2.3.4"}, "198.51.100.7"},
		{"forged as a trusted one", "198.51.100.7:1234", []string{"10.0.0.1"}, "198.51.100.7"},
		{"one proxy", "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"forged before the proxy", "10.0.0.1:1", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		{"forged trusted before the proxy", "10.0.0.1:1", []string{"10.0.0.9, 198.51.100.7"}, "198.51.100.7"},
		{"forged in a line of its own", "10.0.0.1:1", []string{"1.2.3.4", "198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "127.0.0.1:1", []string{"1.2.3.4, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"only proxies", "127.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"proxy without header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"empty header", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"garbage from the client", "10.0.0.1:1", []string{"<script>, 198.51.100.7"}, "198.51.100.7"},
		{"garbage from the proxy", "10.0.0.1:1", []string{"1.2.3.4, unknown"}, "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1:1", []string{"1.2.3.4, _hidden, 10.0.0.2"}, "10.0.0.2"},
		{"empty entries", "10.0.0.1:1", []string{"1.2.3.4, ,"}, "10.0.0.1"},
		{"port", "10.0.0.1:1", []string{"198.51.100.7:5555"}, "198.51.100.7"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with port", "[fd00::1]:1", []string{"[2001:db8::7]:55"}, "2001:db8::7"},
		{"zone", "[fd00::1%eth0]:1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"mapped peer", "[::ffff:10.0.0.1]:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"mapped entry", "10.0.0.1:1", []string{"1.2.3.4, ::ffff:198.51.100.7"}, "198.51.100.7"},
		{"mapped trusted entry", "10.0.0.1:1", []string{"198.51.100.7, ::ffff:10.0.0.2"}, "198.51.100.7"},
		{"no address at all", "@", []string{"1.2.3.4"}, "invalid IP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := through(t, trusted, test.peer, test.forwarded...); got != test.want {
				t.Errorf("peer %s, X-Forwarded-For %q: client = %s, want %s", test.peer, test.forwarded, got, test.want)
			}
		})
	}
	if got := through(t, nil, "127.0.0.1:1", "1.2.3.4"); got != "127.0.0.1" {
		t.Errorf("without trusted proxies: client = %s, want the peer", got)
	}
}

// Whatever a client writes, the address that our own proxy adds decides.
func FuzzRealAddr(f *testing.F) {
	for _, seed := range []string{"", "10.0.0.1", "1.2.3.4, 10.0.0.1", ",,,", "[::1", "\x00", "10.0.0.1:99999"} {
		f.Add(seed)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, forged string) {
		if got := through(t, trusted, "10.0.0.1:1", forged, "198.51.100.7"); got != "198.51.100.7" {
			t.Errorf("forged %q: client = %s", forged, got)
		}
		if got := through(t, trusted, "198.51.100.8:1", forged); got != "198.51.100.8" {
			t.Errorf("forged %q without proxy: client = %s", forged, got)
		}
	})
}
