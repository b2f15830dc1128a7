package port

import (
	"net"
	"testing"
)

// TestFree holds that ports can be listened on, are not those that systems hand
// out, and that none is given twice, whether somebody listens there or not.
func TestFree(t *testing.T) {
	t.Parallel()
	given := map[int]bool{}
	for range 500 { // of 20,000: some would be found again
		port, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] || port < first || port >= last {
			t.Fatalf("port %d, which was given before (%v) or is not between %d and %d", port, given[port], first, last)
		}
		given[port] = true
	}
	row, err := Row(3)
	if err != nil || given[row] || given[row+1] || given[row+2] {
		t.Errorf("a row of three begins at %d, %v; want ports that were not given before", row, err)
	}
	listening := 0
	for port := range given {
		l, err := net.Listen("tcp4", address(port))
		if err != nil {
			continue // another program was faster, as it may
		}
		listening++
		_ = l.Close()
	}
	if listening < 400 {
		t.Errorf("only %d of 500 ports could be listened on", listening)
	}
}
