// Package dpop makes and checks proofs of possession (RFC 9449): a short JWS
// in the header DPoP that binds an access token to a key. Clients use Key,
// Nonces and Clocks; servers use Checker and Replays.
package dpop

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/atoll-social/atoll/oauth/internal/es256"
)

// Header and NonceHeader are the header fields of RFC 9449: the proof with a
// request, the nonce with any response.
const (
	Header      = "DPoP"
	NonceHeader = "DPoP-Nonce"
)

// Key is a private ES256 key that proofs are signed with. It never shows
// itself: in fmt and slog it is "[redacted]", and encoding/json refuses it.
// PrivateJWK writes it out on purpose. A Key is immutable and safe for
// concurrent use; the zero value is not usable.
type Key struct {
	key    *es256.Key
	header string // encoded protected header, the same for every proof
}

// ErrKeyIsSecret is what encoding/json gets instead of a Key.
var ErrKeyIsSecret = errors.New("dpop: a key is a secret; write it with PrivateJWK and seal it")

// NewKey makes a key from the system's randomness.
func NewKey() (*Key, error) {
	k, err := es256.Generate()
	if err != nil {
		return nil, err
	}
	return wrapKey(k)
}

// ParseKey reads what PrivateJWK wrote. Its errors never quote the input.
func ParseKey(jwk []byte) (*Key, error) {
	k, _, err := es256.Parse(jwk)
	if err != nil {
		return nil, fmt.Errorf("parse proof key: %w", err)
	}
	return wrapKey(k)
}

func wrapKey(k *es256.Key) (*Key, error) {
	header, err := es256.Header(struct {
		Type string          `json:"typ"`
		Alg  string          `json:"alg"`
		JWK  es256.PublicJWK `json:"jwk"`
	}{proofType, "ES256", k.Public()})
	if err != nil {
		return nil, err
	}
	return &Key{key: k, header: header}, nil
}

// PrivateJWK returns the whole key as a JWK (RFC 7517), to be sealed and stored.
func (k *Key) PrivateJWK() ([]byte, error) { return k.key.PrivateJWK("") }

// Thumbprint returns the key's jkt: the SHA-256 thumbprint of its public half
// (RFC 7638), 43 characters.
func (k *Key) Thumbprint() string { return k.key.Thumbprint() }

// Equal reports whether both are the same key.
func (k *Key) Equal(other *Key) bool {
	return k != nil && other != nil && k.Thumbprint() == other.Thumbprint()
}

// Format keeps the key out of formatted text, whatever the verb.
func (*Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[redacted]")) }

// LogValue keeps the key out of logs.
func (*Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON always fails with ErrKeyIsSecret.
func (*Key) MarshalJSON() ([]byte, error) { return nil, ErrKeyIsSecret }
