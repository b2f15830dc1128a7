package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// connectClient installs the generated client in Node in a folder of its own.
func connectClient(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("connectclient")); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "ci", "--omit=dev")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

// TestConnectInNode: a client that others' tools have generated, over Connect,
// gRPC-Web and gRPC (N1).
func TestConnectInNode(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	dir := connectClient(t)
	for i, protocol := range []string{"connect", "grpc-web", "grpc"} {
		account := inst.network.NewAccount(t, i%2)
		cmd := exec.Command("node", filepath.Join(dir, "client.mjs"), protocol, "http://"+inst.addr, account.Handle)
		cmd.Stderr = os.Stderr
		words, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		lines := json.NewDecoder(bufio.NewReader(words))
		var ask struct{ BrowserURL, UserCode string }
		if err := lines.Decode(&ask); err != nil {
			t.Fatalf("%s: no address: %v", protocol, err)
		}
		term, b := &terminal{url: ask.BrowserURL, code: ask.UserCode}, inst.browser()
		b.typeCode(b.arrive(term.begun(), account), term.begun(), ask.UserCode)
		var got map[string]any
		if err := lines.Decode(&got); err != nil {
			t.Fatalf("%s: no result: %v", protocol, err)
		}
		want := map[string]any{"did": account.DID, "handle": account.Handle, "listed": 1.0,
			"reasons": []any{"AlreadyExists DELIVERED", "Unauthenticated UNAUTHENTICATED"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", protocol, diff)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: the client ended with %v", protocol, err)
		}
	}
}
