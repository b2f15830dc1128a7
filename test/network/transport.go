package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// Transport sends requests the way [Network.Route] says: https names travel as plain http to loopback, while the URL, the
// Host header and what follows from them (redirects, cookies, proofs) keep the name. Other names are refused, except
// loopback addresses and localhost, so a test never leaves the machine.
func (n *Network) Transport() http.RoundTripper { return routed{n} }

// Client is an HTTP client on [Network.Transport] that reports redirects instead of following them.
func (n *Network) Client() *http.Client {
	return &http.Client{
		Transport:     n.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type routed struct{ network *Network }

// RoundTrip implements http.RoundTripper.
func (t routed) RoundTrip(req *http.Request) (*http.Response, error) {
	addr, ok := t.network.Route(req.URL.Host)
	if !ok {
		return t.network.base.RoundTrip(req)
	}
	sent := req.Clone(req.Context())
	if sent.Host == "" {
		sent.Host = req.URL.Host
	}
	sent.URL.Scheme, sent.URL.Host = "http", addr
	resp, err := t.network.base.RoundTrip(sent)
	if resp != nil {
		resp.Request = req // redirects are resolved against it
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the connections kept for the network.
func (t routed) CloseIdleConnections() { t.network.base.CloseIdleConnections() }

// dialLoopback refuses to connect to anything but this machine. localhost is not looked up: the network is on IPv4 only.
func dialLoopback(ctx context.Context, kind, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, &net.DNSError{Err: "not a name of the local network", Name: host, IsNotFound: true}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, kind, net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("connect to the local network: %w", err)
	}
	return conn, nil
}
