package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwarding are the headers in which proxies say for whom they ask. Nothing
// behind RealAddr sees them, so nothing can trust them by mistake.
var forwarding = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded"}

// RealAddr sets r.RemoteAddr to the client's address when the request came
// through trusted proxies. X-Forwarded-For is read from the right, where the
// nearest proxy writes, and only as long as the address that vouches for an
// entry is trusted; what stands further left was written by the client. An
// entry that is no address ends the reading at the proxy that passed it on.
func RealAddr(trusted []netip.Prefix) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			peer := ClientAddr(r)
			if addr := clientBehind(peer, r.Header.Values("X-Forwarded-For"), trusted); addr != peer {
				r = r.WithContext(r.Context())
				r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
			}
			for _, name := range forwarding {
				r.Header.Del(name)
			}
			next.ServeHTTP(w, r)
		})
	}
}

func clientBehind(addr netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	rest := strings.Join(forwarded, ",")
	for rest != "" && isTrusted(addr, trusted) {
		entry := rest
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, entry = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		next, ok := parseAddr(strings.TrimSpace(entry))
		if !ok {
			break
		}
		addr = next
	}
	return addr
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddr returns the address that r.RemoteAddr names, IPv4 in its own form
// and without a zone; the zero Addr when there is none.
func ClientAddr(r *http.Request) netip.Addr {
	addr, _ := parseAddr(r.RemoteAddr)
	return addr
}

// parseAddr takes an address, with or without port and brackets.
func parseAddr(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	} else {
		s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap().WithZone(""), err == nil
}
