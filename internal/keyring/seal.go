package keyring

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// A sealed value is
//
//	1 byte version | 8 bytes key id | 24 bytes nonce | ciphertext and tag
//
// under XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonce is long
// enough to be random for every value. The associated data binds version, key
// id and Place, so that neither can be exchanged.
const (
	version1   = 1
	idSize     = 8
	headerSize = 1 + idSize + chacha20poly1305.NonceSizeX

	// PrefixSize is how many bytes of a sealed value say which key sealed it.
	PrefixSize = 1 + idSize

	// Overhead is how many bytes longer a sealed value is than its plaintext.
	Overhead = headerSize + chacha20poly1305.Overhead
)

var (
	// ErrNoKeys says that a key list holds no key.
	ErrNoKeys = errors.New("the key list holds no key")
	// ErrUnknownKey says that a value was sealed with a key the ring does not
	// hold. The error is an *UnknownKeyError, which has the id.
	ErrUnknownKey = errors.New("sealed with an unknown key")
	// ErrTampered says that a value is not what Seal made for this place: it was
	// altered, cut off, or copied from another row, column or table.
	ErrTampered = errors.New("sealed value does not belong here or was altered")
)

// UnknownKeyError is ErrUnknownKey with the id of the key that is missing.
type UnknownKeyError struct{ ID string }

// Error names the key by id.
func (e *UnknownKeyError) Error() string { return fmt.Sprintf("%v (id %s)", ErrUnknownKey, e.ID) }

// Is makes errors.Is(err, ErrUnknownKey) true.
func (e *UnknownKeyError) Is(target error) bool { return target == ErrUnknownKey }

// Place is where a sealed value is stored. Key is the row's primary key, its
// parts joined unambiguously when there are several.
type Place struct{ Table, Column, Key string }

// Seal encrypts plaintext under the newest key for the given place.
func (r *Ring) Seal(plaintext []byte, at Place) ([]byte, error) {
	k := r.newest()
	sealed := make([]byte, headerSize, headerSize+len(plaintext)+chacha20poly1305.Overhead)
	sealed[0] = version1
	copy(sealed[1:], k.id[:])
	nonce := sealed[1+idSize : headerSize]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal %s.%s: %w", at.Table, at.Column, err)
	}
	return k.aead.Seal(sealed, nonce, plaintext, associated(sealed[:1+idSize], at)), nil
}

// Open decrypts what Seal made for the same place. The error is
// *UnknownKeyError or wraps ErrTampered.
func (r *Ring) Open(sealed []byte, at Place) ([]byte, error) {
	if err := checkShape(sealed); err != nil {
		return nil, fmt.Errorf("open %s.%s: %w", at.Table, at.Column, err)
	}
	for _, k := range r.list() {
		if [idSize]byte(sealed[1:1+idSize]) != k.id {
			continue
		}
		aad := associated(sealed[:1+idSize], at)
		plain, err := k.aead.Open(nil, sealed[1+idSize:headerSize], sealed[headerSize:], aad)
		if err != nil {
			return nil, fmt.Errorf("open %s.%s: %w", at.Table, at.Column, ErrTampered)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("open %s.%s: %w", at.Table, at.Column, &UnknownKeyError{ID: idOf(sealed)})
}

// Prefix returns what every value begins with that is sealed with the newest
// key. It says nothing about the key.
func (r *Ring) Prefix() []byte {
	id := r.newest().id
	return append([]byte{version1}, id[:]...)
}

// SealedWith returns the id of the key that sealed the value, without opening
// it. The error wraps ErrTampered when it is no sealed value at all.
func SealedWith(sealed []byte) (keyID string, err error) {
	if err := checkShape(sealed); err != nil {
		return "", err
	}
	return idOf(sealed), nil
}

func idOf(sealed []byte) string { return hex.EncodeToString(sealed[1 : 1+idSize]) }

func checkShape(sealed []byte) error {
	if len(sealed) < Overhead {
		return fmt.Errorf("%w: %d bytes, shorter than any sealed value", ErrTampered, len(sealed))
	}
	if sealed[0] != version1 {
		return fmt.Errorf("%w: unknown version %d", ErrTampered, sealed[0])
	}
	return nil
}

// associated is the header and the place, each part behind its length, so that
// no two places give the same bytes.
func associated(header []byte, at Place) []byte {
	data := make([]byte, 0, len(header)+12+len(at.Table)+len(at.Column)+len(at.Key))
	data = append(data, header...)
	for _, part := range []string{at.Table, at.Column, at.Key} {
		data = binary.BigEndian.AppendUint32(data, uint32(len(part)))
		data = append(data, part...)
	}
	return data
}
