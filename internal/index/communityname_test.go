package index

import (
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

func TestDisplayHandle(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		handle   syntax.Handle
		host     syntax.DID
		verified *bool
		want     string
	}{
		{"cove.atoll.example", "did:web:atoll.example", &yes, "!cove@atoll.example"},
		{"cove.atoll.example", "did:web:bank.example", &no, "!cove@atoll.example"},
		{"cove.atoll.example", "did:web:bank.example", nil, "!cove@atoll.example"},
		{"cove.one.test", "did:web:localhost%3A8080", &yes, "!cove@localhost:8080"},
		{"", "did:web:atoll.example", nil, "!cove"},
		{"handle.invalid", "did:web:atoll.example", nil, "!cove"},
	} {
		if got := DisplayHandle(Account{Handle: c.handle}, "cove", c.host, c.verified); got != c.want {
			t.Errorf("%s hosted by %s: %q, want %q", c.handle, c.host, got, c.want)
		}
	}
}
