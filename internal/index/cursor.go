package index

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/atoll-social/atoll/internal/fault"
)

// Cursors turns positions into the opaque text that clients send back, signed
// and bound to the listing that they belong to.
type Cursors struct{ key []byte }

// NewCursors takes a key of 32 bytes that all processes share, derived from
// the instance's own.
func NewCursors(key []byte) (*Cursors, error) {
	if len(key) != sha256.Size {
		return nil, errors.New("index: the key for cursors must have 32 bytes")
	}
	return &Cursors{key: key}, nil
}

const (
	cursorVersion = 2
	cursorMAC     = 12
	cursorMost    = 200 // bytes, encoded; ours are about 60
)

// Seal writes numbers. listing names the endpoint and everything that decides
// what its pages hold.
func (c *Cursors) Seal(listing string, numbers ...int64) string {
	raw := []byte{cursorVersion}
	for _, n := range numbers {
		raw = binary.AppendVarint(raw, n)
	}
	return base64.RawURLEncoding.EncodeToString(append(raw, c.mac(listing, raw)...))
}

// Open reads count numbers that Seal wrote for the same listing. Anything else
// is fault.Invalid with the code InvalidCursor.
func (c *Cursors) Open(listing, text string, count int) ([]int64, error) {
	if len(text) > cursorMost {
		return nil, errCursor()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+cursorMAC || raw[0] != cursorVersion {
		return nil, errCursor()
	}
	body, mac := raw[:len(raw)-cursorMAC], raw[len(raw)-cursorMAC:]
	if !hmac.Equal(mac, c.mac(listing, body)) {
		return nil, errCursor()
	}
	numbers := make([]int64, count)
	rest := body[1:]
	for i := range numbers {
		n, size := binary.Varint(rest)
		if size <= 0 {
			return nil, errCursor()
		}
		numbers[i], rest = n, rest[size:]
	}
	if len(rest) > 0 {
		return nil, errCursor()
	}
	return numbers, nil
}

func (c *Cursors) mac(listing string, body []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	// The length keeps the parts apart.
	h.Write(binary.AppendUvarint(nil, uint64(len(body))))
	h.Write(body)
	h.Write([]byte(listing))
	return h.Sum(nil)[:cursorMAC]
}

func errCursor() error {
	return fault.New(fault.Invalid, "This cursor does not belong to this listing. Start again from the first page.").
		WithCode("InvalidCursor")
}
