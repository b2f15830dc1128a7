package session_test

import (
	"net/netip"
	"testing"

	"github.com/atoll-social/atoll/internal/session"
)

func TestOriginIsCoarse(t *testing.T) {
	t.Parallel()
	tests := []struct{ addr, want string }{
		{"203.0.113.77", "203.0.113.0/24"},
		{"::ffff:203.0.113.77", "203.0.113.0/24"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/48"},
	}
	for _, tc := range tests {
		if got := session.Origin(netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("Origin(%s) = %q, want %q", tc.addr, got, tc.want)
		}
	}
	if got := session.Origin(netip.Addr{}); got != "" {
		t.Errorf("Origin(no address) = %q, want nothing", got)
	}
}

func TestSummaryNamesBrowserAndSystem(t *testing.T) {
	t.Parallel()
	tests := []struct{ header, want string }{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0", "Firefox on Linux"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36", "Chrome on Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iPhone"},
		{"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari on macOS"},
		{"curl/8.5", "Unknown browser"},
		{"something (Linux)", "Unknown browser on Linux"},
		{"", "Unknown browser"},
		{"<script>\x00", "Unknown browser"},
	}
	for _, tc := range tests {
		if got := session.Summary(tc.header); got != tc.want {
			t.Errorf("Summary(%q) = %q, want %q", tc.header, got, tc.want)
		}
	}
}
