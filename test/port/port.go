// Package port finds loopback ports for programs that must be told where to
// listen before they start.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are taken from below those that systems hand out by themselves (Linux
// from 32768, others from 49152), or any connection of another program could get
// one between here and the start.
const first, last = 10_000, 30_000

// Free returns a TCP port on 127.0.0.1 that nobody uses now, and that nobody else
// is given before this process ends: the program that it is for may stop and start.
func Free() (int, error) { return Row(1) }

// Row is Free for n ports that follow each other; it returns the first.
func Row(n int) (int, error) {
	var err error
	for range 100 {
		port := first + rand.IntN(last-first-n)
		if err = take(port, n); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// take holds n ports, if nobody uses them.
func take(port, n int) error {
	for p := port; p < port+n; p++ {
		if err := hold(p); err != nil {
			return err
		}
		l, err := net.Listen("tcp4", address(p))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// hold takes the UDP port of the same number until this process ends, in place of
// the TCP port, which is not ours to take.
func hold(port int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		_ = syscall.Close(fd)
	}
	return err
}

// FreeAddress is Free as host and port.
func FreeAddress() (string, error) {
	port, err := Free()
	return address(port), err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
