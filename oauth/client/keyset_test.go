package client_test

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/oauth/client"
)

// TestKeyIDsOnCommandLines: whoever names a key on a command line does not name
// an option.
func TestKeyIDsOnCommandLines(t *testing.T) {
	t.Parallel()
	for range 1000 {
		key, err := client.NewSigningKey()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(key.ID(), "-") {
			t.Fatalf("the id of a key is %s", key.ID())
		}
	}
}
