package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"code.dny.dev/ssrf"
)

// rules judge the addresses that a connection is about to be made to.
type rules struct {
	dev    bool
	allow  []netip.AddrPort
	public *ssrf.Guardian
}

func newRules(dev bool, allow []netip.AddrPort) *rules {
	r := &rules{dev: dev, public: ssrf.New(ssrf.WithAnyPort())}
	for _, a := range allow {
		r.allow = append(r.allow, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return r
}

var errBlocked = errors.New("address is not allowed")

// https judges a connection that will speak TLS.
func (r *rules) https(to netip.AddrPort) error {
	addr := to.Addr().Unmap() // ::ffff:10.0.0.1 is dialled as 10.0.0.1
	switch {
	case slices.Contains(r.allow, netip.AddrPortFrom(addr, to.Port())):
		return nil
	case r.dev && addr.IsLoopback():
		return nil
	case r.isPublic(addr):
		return nil
	}
	return errBlocked
}

// plain judges a connection without TLS, which is only ever made to loopback.
func (r *rules) plain(to netip.AddrPort) error {
	addr := to.Addr().Unmap()
	switch {
	case addr.IsLoopback():
		return nil
	case r.isPublic(addr):
		return ErrPlainHTTP
	}
	return errBlocked
}

// isPublic reports whether addr is a server on the internet. The IANA
// registries of special purpose addresses decide (RFC 6890). 6to4 and Teredo,
// which carry an IPv4 address inside, have no servers and are refused whole;
// NAT64 (RFC 6052) is how a host without IPv4 reaches IPv4 servers and is
// judged by the address inside. An address with a zone is in no registry's
// prefix, so never public.
func (r *rules) isPublic(addr netip.Addr) bool {
	if ssrf.IPv6NAT64Prefix.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return r.public.SafeAddr(addr) == nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialer connects to an address only if judge has nothing against it. The
// kernel is handed the very address that was judged, after each look-up.
func (g *Guard) dialer(judge func(netip.AddrPort) error) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadURL, err)
		}
		d := net.Dialer{Timeout: dialTimeout, Resolver: g.cfg.Resolver}
		d.Control = func(network, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || (network != "tcp4" && network != "tcp6") {
				return fmt.Errorf("%w: %s %s", ErrBadURL, network, address)
			}
			if err := judge(to); errors.Is(err, errBlocked) {
				return &BlockedError{Host: host, Addr: to.Addr()}
			} else if err != nil {
				return fmt.Errorf("%w: host %s", err, host)
			}
			return nil
		}
		return d.DialContext(ctx, network, address)
	}
}
