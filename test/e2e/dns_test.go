package e2e

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/dns/dnsmessage"
)

// emptyDNS is a resolver whose name server, in this process, knows no name:
// tests never ask the machine's own.
func emptyDNS() (*net.Resolver, error) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go answerNothing(server) // as long as the process lives
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}, nil
}

func answerNothing(server net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			fmt.Fprintln(os.Stderr, "test name server:", err)
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buf[:n]) != nil {
			continue
		}
		query.Header.Response, query.Header.RCode = true, dnsmessage.RCodeNameError
		query.Additionals = nil
		if answer, err := query.Pack(); err == nil {
			_, _ = server.WriteTo(answer, from) // a lost answer is asked for again
		}
	}
}
