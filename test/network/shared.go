package network

import (
	"context"
	"os"
	"sync"
	"testing"
)

// Shared returns the network that all tests of this process use, and other processes with it: the one that TEST_NETWORK
// hands down, or else one that is started now and ends with the process. It is https-named. Nothing that one test
// does to it may disturb another: no outages, names made up by [Name] and [AppHost].
func Shared(t testing.TB) *Network {
	t.Helper()
	n, err := shared()
	if err != nil {
		t.Fatalf("local network: %v", err)
	}
	return n
}

// shared is the one process-wide value of this package: starting servers for each test would take seconds and memory.
var shared = sync.OnceValues(func() (*Network, error) {
	if text := os.Getenv(EnvNetwork); text != "" {
		return Parse(text)
	}
	p, err := Launch(context.Background(), Config{Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	return p.Network, nil // its standard input closes when this process ends, and with that the servers end
})

// Start launches a network for one test, which ends with it: for tests that need the plain shape or an outage.
func Start(t testing.TB, cfg Config) *Process {
	t.Helper()
	p, err := Launch(t.Context(), cfg)
	if err != nil {
		t.Fatalf("local network: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}
