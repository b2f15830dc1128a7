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
	cursorVersion = 1
	cursorBody    = 1 + 8 + 8
	cursorMAC     = 16
)

// Seal writes a position. listing names the endpoint and everything that
// decides what its pages hold.
func (c *Cursors) Seal(listing string, p Position) string {
	raw := make([]byte, 1, cursorBody+cursorMAC)
	raw[0] = cursorVersion
	raw = binary.BigEndian.AppendUint64(raw, uint64(p.createdAt))
	raw = binary.BigEndian.AppendUint64(raw, uint64(p.id))
	return base64.RawURLEncoding.EncodeToString(append(raw, c.mac(listing, raw)...))
}

// Open reads what Seal wrote for the same listing. Anything else is
// fault.Invalid with the code InvalidCursor.
func (c *Cursors) Open(listing, text string) (Position, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != cursorBody+cursorMAC || raw[0] != cursorVersion {
		return Position{}, errCursor()
	}
	body, mac := raw[:cursorBody], raw[cursorBody:]
	if !hmac.Equal(mac, c.mac(listing, body)) {
		return Position{}, errCursor()
	}
	return Position{
		createdAt: int64(binary.BigEndian.Uint64(body[1:9])),
		id:        int64(binary.BigEndian.Uint64(body[9:17])),
	}, nil
}

func (c *Cursors) mac(listing string, body []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write(body) // of fixed length, so the parts cannot be shifted
	h.Write([]byte(listing))
	return h.Sum(nil)[:cursorMAC]
}

func errCursor() error {
	return fault.New(fault.Invalid, "This cursor does not belong to this listing. Start again from the first page.").
		WithCode("InvalidCursor")
}
