package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// PDSEndpoint returns the origin of the PDS that the identity's document
// names: https and a host, perhaps a port (AT Protocol DID specification).
// With dev, plain http on loopback passes. Errors: *Error with ErrNoPDS or
// ErrBadDocument.
func PDSEndpoint(ident *sdk.Identity, dev bool) (string, error) {
	endpoint := ident.PDSEndpoint()
	if endpoint == "" {
		return "", &Error{Subject: ident.DID.String(), Reason: ErrNoPDS}
	}
	origin, err := Origin(endpoint, dev)
	if err != nil {
		return "", &Error{Subject: ident.DID.String(), Reason: ErrBadDocument, Cause: fmt.Errorf("PDS address: %w", err)}
	}
	return origin, nil
}

// Origin checks that raw is the address of a server and nothing more, and
// returns it as scheme://host[:port] in lower case without a default port. A
// lone final slash is forgiven. Plain http is only for loopback, and only with
// loopbackHTTP; an IP address may only be a loopback one.
func Origin(raw string, loopbackHTTP bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("%.200q is no URL", raw)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	switch {
	case u.Opaque != "" || host == "":
		return "", fmt.Errorf("%.200q names no host", raw)
	case u.User != nil, u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, strings.Contains(raw, "#"):
		return "", fmt.Errorf("%.200q has more than scheme, host and port", raw)
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("%.200q is not https", raw)
	case u.Scheme == "http" && !(loopbackHTTP && isLoopback(host)):
		return "", fmt.Errorf("%.200q is not https", raw)
	}
	if err := checkServerHost(host); err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port, err := portSuffix(u)
	if err != nil {
		return "", fmt.Errorf("%.200q: %w", raw, err)
	}
	return u.Scheme + "://" + host + port, nil
}

// portSuffix returns ":port", or nothing for the scheme's own port.
func portSuffix(u *url.URL) (string, error) {
	if u.Port() == "" {
		return "", nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return "", errors.New("the port is out of range")
	}
	if u.Scheme == "https" && port == 443 || u.Scheme == "http" && port == 80 {
		return "", nil
	}
	return ":" + strconv.FormatUint(port, 10), nil
}

func checkServerHost(host string) error {
	if isLoopback(host) {
		return nil
	}
	if _, err := syntax.ParseHandle(host); err != nil {
		return errors.New("the host is no public host name")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.IsLoopback()
}
