// Package port finds loopback ports for programs that must be told where to
// listen before they start.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below those that systems hand out by themselves (Linux
// from 32768, others from 49152), or any connection of another program could get
// one between here and the start.
const first, last = 10_000, 30_000

// Free returns a port on 127.0.0.1 that nobody uses now and that nobody is given
// who does not ask for it.
func Free() (int, error) {
	var err error
	for range 100 {
		port := first + rand.IntN(last-first)
		var l net.Listener
		if l, err = net.Listen("tcp4", address(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// FreeAddress is Free as host and port.
func FreeAddress() (string, error) {
	port, err := Free()
	return address(port), err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
