package port

import (
	"net"
	"testing"
)

// TestFree holds that ports can be listened on, are not those that systems hand
// out, and that one that is taken is not given.
func TestFree(t *testing.T) {
	t.Parallel()
	taken := map[int]bool{}
	for range 300 {
		port, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		if taken[port] || port < first || port >= last {
			t.Fatalf("port %d, which is taken (%v) or not between %d and %d", port, taken[port], first, last)
		}
		l, err := net.Listen("tcp4", address(port))
		if err != nil {
			continue // another program was faster, as it may
		}
		taken[port] = true
		t.Cleanup(func() { _ = l.Close() })
	}
	if len(taken) < 200 {
		t.Errorf("only %d of 300 ports could be listened on", len(taken))
	}
}
