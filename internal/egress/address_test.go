package egress

import (
	"errors"
	"net/netip"
	"testing"
)

// blockedEverywhere are addresses that no setting opens but Allow and, for
// loopback alone, Dev.
var blockedEverywhere = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254", "172.16.0.1",
	"172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "100::1", "2001:db8::1",
	"5f00::1", "3fff::1", "2606:4700::1111%eth0", "64:ff9b::93.184.216.34%eth0",
	// IPv4 inside of IPv6: mapped, compatible, translated, 6to4, Teredo, ISATAP-like, NAT64.
	"::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "::ffff:0:10.0.0.1",
	"2002:7f00:1::", "2002:a00:1::", "2002:5db8:d822::1", "2001:0:7f00:1::", "2001:0:5db8:d822::1",
	"64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::192.168.0.1", "64:ff9b:1::10.0.0.1",
	"64:ff9b:1::5db8:d822",
}

var loopback = []string{"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}

var public = []string{"1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34"}

func TestHTTPSReachesPublicAddressesOnly(t *testing.T) {
	t.Parallel()
	production, dev := newRules(false, nil), newRules(true, nil)
	for _, port := range []uint16{1, 22, 80, 443, 3000, 65535} {
		for _, addr := range blockedEverywhere {
			to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			if err := production.https(to); !errors.Is(err, errBlocked) {
				t.Errorf("production: https to %s = %v, want blocked", to, err)
			}
			if err := dev.https(to); !errors.Is(err, errBlocked) {
				t.Errorf("dev: https to %s = %v, want blocked", to, err)
			}
		}
		for _, addr := range loopback {
			to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			if err := production.https(to); !errors.Is(err, errBlocked) {
				t.Errorf("production: https to %s = %v, want blocked", to, err)
			}
			if err := dev.https(to); err != nil {
				t.Errorf("dev: https to %s = %v, want allowed", to, err)
			}
		}
		for _, addr := range public {
			to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			if err := production.https(to); err != nil {
				t.Errorf("production: https to %s = %v, want allowed", to, err)
			}
		}
	}
}

func TestPlainHTTPReachesLoopbackOnly(t *testing.T) {
	t.Parallel()
	allowed := netip.MustParseAddrPort("10.0.0.1:3000")
	r := newRules(true, []netip.AddrPort{allowed})
	if err := r.plain(allowed); !errors.Is(err, errBlocked) {
		t.Errorf("http to an allowed private address = %v, want blocked: Allow is for https", err)
	}
	for _, addr := range blockedEverywhere {
		if err := r.plain(netip.AddrPortFrom(netip.MustParseAddr(addr), 80)); !errors.Is(err, errBlocked) {
			t.Errorf("http to %s = %v, want blocked", addr, err)
		}
	}
	for _, addr := range public {
		if err := r.plain(netip.AddrPortFrom(netip.MustParseAddr(addr), 80)); !errors.Is(err, ErrPlainHTTP) {
			t.Errorf("http to %s = %v, want ErrPlainHTTP", addr, err)
		}
	}
	for _, addr := range loopback {
		if err := r.plain(netip.AddrPortFrom(netip.MustParseAddr(addr), 80)); err != nil {
			t.Errorf("http to %s = %v, want allowed", addr, err)
		}
	}
}

func TestAllowNamesExactAddressesAndPorts(t *testing.T) {
	t.Parallel()
	r := newRules(false, []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.1:3000"), netip.MustParseAddrPort("[::ffff:10.0.0.2]:443"),
	})
	for to, want := range map[string]bool{
		"10.0.0.1:3000":          true,
		"[::ffff:10.0.0.1]:3000": true,
		"10.0.0.2:443":           true,
		"10.0.0.1:3001":          false,
		"10.0.0.3:3000":          false,
		"[64:ff9b::a00:1]:3000":  false,
	} {
		if err := r.https(netip.MustParseAddrPort(to)); (err == nil) != want {
			t.Errorf("https to %s = %v, want allowed %t", to, err, want)
		}
	}
}

func TestNewRefusesAllowedAddressesThatAreNoServer(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:443", "[::]:443", "224.0.0.1:443", "10.0.0.1:0"} {
		if _, err := New(Config{Allow: []netip.AddrPort{netip.MustParseAddrPort(addr)}}); err == nil {
			t.Errorf("New with allowed %s succeeded", addr)
		}
	}
	if _, err := New(Config{Allow: []netip.AddrPort{{}}}); err == nil {
		t.Error("New with an empty allowed address succeeded")
	}
}

// A proxy would connect in our name to wherever it likes.
func TestNoProxyIsUsed(t *testing.T) {
	t.Parallel()
	g, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if g.https.Proxy != nil || g.plain.Proxy != nil {
		t.Error("a transport asks for a proxy")
	}
}
