// Package keyring seals what is stored: every secret column is encrypted under
// one of an ordered list of keys, with the key's id in front and bound to the
// place it is stored at. It also holds Secret, text that refuses to be printed.
package keyring

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of a key in bytes, before base64.
const KeySize = 32

// maxText bounds the text that Parse reads, in bytes.
const maxText = 64 << 10

// key is one key of the ring. What is used is derived from it, each for one
// purpose, so that sealing and Derive never share key material.
type key struct {
	id     [idSize]byte
	aead   cipher.AEAD
	master []byte
}

// Ring is an ordered list of keys: the newest seals, all of them open. It is
// safe for concurrent use; the list changes as a whole, by Replace. It prints as
// its key ids.
type Ring struct{ held *atomic.Pointer[[]*key] }

// list returns the keys, newest first.
func (r Ring) list() []*key {
	if r.held == nil {
		return nil
	}
	return *r.held.Load()
}

func (r Ring) newest() *key { return r.list()[0] }

// Replace puts the keys of other in the place of those that r holds, at once
// and wherever r is used: an operator has added a key. What was derived from the
// newest key before stays as it was.
func (r *Ring) Replace(other *Ring) {
	keys := other.list()
	r.held.Store(&keys)
}

// Parse reads keys from text: one a line, the newest first, each the base64 of
// 32 bytes. Blank lines and everything after '#' are ignored. Errors name the
// line and what is wrong with it, never what it holds.
func Parse(text string) (*Ring, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the key list has %d bytes, more than %d: this is not a key list", len(text), maxText)
	}
	var keys []*key
	seen := map[[idSize]byte]int{}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if first, twice := seen[k.id]; twice {
			return nil, fmt.Errorf("line %d: the same key as line %d", number, first)
		}
		seen[k.id] = number
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, ErrNoKeys
	}
	r := &Ring{held: &atomic.Pointer[[]*key]{}}
	r.held.Store(&keys)
	return r, nil
}

func parseKey(line string) (*key, error) {
	// A CR or LF inside would be skipped by the decoder; a line holds neither
	// after trimming except a lone CR, which is refused like any other character.
	if strings.ContainsAny(line, "\r\n") {
		return nil, fmt.Errorf("not base64: control character in the middle")
	}
	master, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		// The decoder's own text quotes nothing but an offset, yet an offset says
		// little: keep to what helps.
		return nil, fmt.Errorf("not base64 (want %d characters, have %d)", base64.StdEncoding.EncodedLen(KeySize), len(line))
	}
	if len(master) != KeySize {
		return nil, fmt.Errorf("a key of %d bytes, want %d", len(master), KeySize)
	}
	if repeats(master) {
		return nil, fmt.Errorf("one byte repeated %d times is not a key; make one with `atoll keys generate`", KeySize)
	}
	return newKey(master)
}

// repeats reports whether b is one byte over and over, as placeholders are.
func repeats(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

func newKey(master []byte) (*key, error) {
	id, err := hkdf.Key(sha256.New, master, nil, "atoll key id v1", idSize)
	if err != nil {
		return nil, fmt.Errorf("derive key id: %w", err)
	}
	seal, err := hkdf.Key(sha256.New, master, nil, "atoll seal v1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	aead, err := chacha20poly1305.NewX(seal)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &key{id: [idSize]byte(id), aead: aead, master: master}, nil
}

// Generate returns a new key as a line for Parse, without a line end.
func Generate() (line string, err error) {
	var master [KeySize]byte
	if _, err := rand.Read(master[:]); err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(master[:]), nil
}

// CurrentID returns the id of the newest key, 16 hexadecimal digits. An id says
// nothing about its key and may be shown.
func (r *Ring) CurrentID() string { id := r.newest().id; return hex.EncodeToString(id[:]) }

// IDs returns the ids of all keys, newest first.
func (r *Ring) IDs() []string {
	keys := r.list()
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = hex.EncodeToString(k.id[:])
	}
	return ids
}

// Has reports whether the ring holds the key of that id.
func (r *Ring) Has(id string) bool {
	for _, have := range r.IDs() {
		if have == id {
			return true
		}
	}
	return false
}

// Derive returns size bytes made from the newest key for the purpose that label
// names (HKDF-SHA-256, RFC 5869), independent of sealing and of other labels.
// They change when the newest key does. It panics when size is not in 1…8160,
// which is a programmer's mistake.
func (r *Ring) Derive(label string, size int) []byte {
	if size < 1 {
		panic(fmt.Sprintf("keyring: derive %d bytes", size))
	}
	out, err := hkdf.Key(sha256.New, r.newest().master, nil, "atoll derive v1 "+label, size)
	if err != nil {
		panic(fmt.Sprintf("keyring: derive %d bytes: %v", size, err))
	}
	return out
}

// String names the keys by id.
func (r Ring) String() string { return "keyring" + fmt.Sprint(r.IDs()) }

// Format writes String whatever the verb.
func (r Ring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue returns String.
func (r Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }
