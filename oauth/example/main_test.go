package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// TestExample runs the program against the official servers in the plain shape,
// playing the browser.
func TestExample(t *testing.T) {
	t.Parallel()
	n := network.Start(t, network.Config{Plain: true})
	who := n.NewAccount(t, 0)
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(t.Context(), write, n.PLC, who.DID)
		_ = write.CloseWithError(err)
		done <- err
	}()
	lines := bufio.NewReader(read)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, authorize, _ := strings.Cut(strings.TrimSpace(line), ": ")
	back, err := n.SignIn(t.Context(), authorize, who)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, back, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if line, err = lines.ReadString('\n'); err != nil || !strings.Contains(line, "Signed in as "+who.DID+": 200") {
		t.Errorf("the program said %q (%v), want who signed in", line, err)
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}
