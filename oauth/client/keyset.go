package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/atoll-social/atoll/oauth/dpop"
	"github.com/atoll-social/atoll/oauth/internal/es256"
)

// SigningKey is a private ES256 key of a confidential client, with its key id.
// Like a proof key it never shows itself. Safe for concurrent use.
type SigningKey struct {
	key    *es256.Key
	id     string
	header string // encoded protected header of assertions
}

// NewSigningKey makes a key from the system's randomness. Its id is its
// thumbprint (RFC 7638), and none that command lines would take for an option.
func NewSigningKey() (*SigningKey, error) {
	for {
		k, err := es256.Generate()
		if err != nil {
			return nil, err
		}
		if s, err := wrapSigningKey(k, ""); err != nil || s.id[0] != '-' {
			return s, err
		}
	}
}

// ParseSigningKey reads a private JWK: kty EC, crv P-256, d, x, y; kid is
// optional, at most 128 printable ASCII characters. Errors never quote the input.
func ParseSigningKey(jwk []byte) (*SigningKey, error) {
	k, kid, err := es256.Parse(jwk)
	if err != nil {
		return nil, fmt.Errorf("parse client key: %w", err)
	}
	return wrapSigningKey(k, kid)
}

func wrapSigningKey(k *es256.Key, kid string) (*SigningKey, error) {
	if kid == "" {
		kid = k.Thumbprint()
	}
	if len(kid) > 128 || !printable(kid) {
		return nil, errors.New("parse client key: kid is too long or not printable")
	}
	header, err := es256.Header(struct {
		Alg  string `json:"alg"`
		Kid  string `json:"kid"`
		Type string `json:"typ"`
	}{"ES256", kid, "JWT"})
	if err != nil {
		return nil, err
	}
	return &SigningKey{key: k, id: kid, header: header}, nil
}

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return true
}

// ID returns the key's kid.
func (k *SigningKey) ID() string { return k.id }

// PrivateJWK returns the whole key as a JWK, to be sealed and stored.
func (k *SigningKey) PrivateJWK() ([]byte, error) { return k.key.PrivateJWK(k.id) }

// Format keeps the key out of formatted text, whatever the verb.
func (*SigningKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[redacted]")) }

// LogValue keeps the key out of logs.
func (*SigningKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON always fails, like that of a proof key.
func (*SigningKey) MarshalJSON() ([]byte, error) { return nil, dpop.ErrKeyIsSecret }

// KeySet holds the keys of a confidential client, newest first. The first one
// signs for new sessions; each session keeps the key that it began with, so a
// key must stay in the set, and thereby published, as long as sessions use it.
// Safe for concurrent use.
type KeySet struct{ keys atomic.Pointer[[]*SigningKey] }

// NewKeySet makes a set. It needs at least one key, and ids must differ.
func NewKeySet(keys ...*SigningKey) (*KeySet, error) {
	s := &KeySet{}
	if err := s.Replace(keys...); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace puts keys in the place of all others, at once for signing and for
// publishing. A set that is refused changes nothing. Sessions whose key is gone
// fail with ErrKeyWithdrawn when it is next needed.
func (s *KeySet) Replace(keys ...*SigningKey) error {
	if len(keys) == 0 {
		return errors.New("a confidential client needs a key")
	}
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if k == nil {
			return errors.New("client key is nil")
		}
		if seen[k.id] {
			return fmt.Errorf("two client keys have the id %q", k.id)
		}
		seen[k.id] = true
	}
	list := append([]*SigningKey(nil), keys...)
	s.keys.Store(&list)
	return nil
}

// IDs returns the ids, newest key first. A nil set has none.
func (s *KeySet) IDs() []string {
	ids := []string{}
	for _, k := range s.list() {
		ids = append(ids, k.id)
	}
	return ids
}

// publicKey is one member of a published key set.
type publicKey struct {
	es256.PublicJWK
	ID  string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
}

// PublicJWKS returns the JWK set (RFC 7517, 5) to publish: always of the shape
// {"keys":[…]}, public members only. A nil set is {"keys":[]}.
func (s *KeySet) PublicJWKS() ([]byte, error) {
	set := struct {
		Keys []publicKey `json:"keys"`
	}{Keys: []publicKey{}}
	for _, k := range s.list() {
		set.Keys = append(set.Keys, publicKey{k.key.Public(), k.id, "sig", "ES256"})
	}
	return json.Marshal(set)
}

func (s *KeySet) list() []*SigningKey {
	if s == nil {
		return nil
	}
	keys := s.keys.Load()
	if keys == nil {
		return nil
	}
	return *keys
}

// newest returns the key for new sessions, nil for a public client.
func (s *KeySet) newest() *SigningKey {
	if keys := s.list(); len(keys) > 0 {
		return keys[0]
	}
	return nil
}

// find returns the key of that id, nil when there is none.
func (s *KeySet) find(id string) *SigningKey {
	for _, k := range s.list() {
		if k.id == id {
			return k
		}
	}
	return nil
}
