package keyring_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
)

func generate(t *testing.T) string {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// A key that is added to a ring in use is used by everybody who holds the ring,
// and what the older one sealed still opens.
func TestKeysAreReplacedInUse(t *testing.T) {
	t.Parallel()
	older, newer := generate(t), generate(t)
	ring, next := mustParse(t, older), mustParse(t, newer, older)
	at := keyring.Place{Table: "t", Column: "c", Key: "k"}
	before, err := ring.Seal([]byte("secret"), at)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				sealed, err := ring.Seal([]byte("secret"), at)
				if err != nil {
					t.Errorf("Seal: %v", err)
				}
				if _, err := ring.Open(sealed, at); err != nil {
					t.Errorf("Open: %v", err)
				}
			}
		})
	}
	wg.Go(func() { ring.Replace(next) })
	wg.Wait()
	if diff := cmp.Diff(next.IDs(), ring.IDs()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	after, err := ring.Seal([]byte("secret"), at)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ sealed, prefix []byte }{
		"before": {before, mustParse(t, older).Prefix()}, "after": {after, mustParse(t, newer).Prefix()},
	} {
		if plain, err := ring.Open(c.sealed, at); err != nil || string(plain) != "secret" {
			t.Errorf("Open of what was sealed %s = %v", name, err)
		}
		if !bytes.HasPrefix(c.sealed, c.prefix) || len(c.prefix) != keyring.PrefixSize {
			t.Errorf("what was sealed %s begins with %x, want %x", name, c.sealed[:keyring.PrefixSize], c.prefix)
		}
	}
	ring.Replace(mustParse(t, newer))
	if _, err := ring.Open(before, at); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("Open without the older key = %v, want ErrUnknownKey", err)
	}
}
