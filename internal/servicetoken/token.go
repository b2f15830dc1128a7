package servicetoken

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

const (
	maxToken = 4096 // bytes of a token
	maxID    = 512  // bytes of its jti
)

// header and claims are those of RFC 7515 and RFC 7519 that matter here.
type header struct {
	Algorithm string          `json:"alg"`
	Type      string          `json:"typ"`
	Critical  json.RawMessage `json:"crit"`
}

type claims struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	Method    string `json:"lxm"`
	ID        string `json:"jti"`
	Expires   int64  `json:"exp"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
}

// parsed is a token that has everything it must have; nothing of it is proven.
type parsed struct {
	header    header
	claims    claims
	issuer    syntax.DID
	signed    []byte
	signature []byte
}

// Looks reports that a token has the form of one for services: it names a
// method. It proves nothing, and chooses who is asked.
func Looks(token string) bool {
	if len(token) > maxToken {
		return false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var c struct {
		Method string `json:"lxm"`
	}
	return decode(parts[1], &c) == nil && c.Method != ""
}

func parse(token string) (*parsed, error) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return nil, errors.New("not a signed token of three parts")
	}
	t := &parsed{signed: []byte(parts[0] + "." + parts[1])}
	if err := decode(parts[0], &t.header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := decode(parts[1], &t.claims); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	var err error
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return t, t.check()
}

// decode reads a part. Names are taken to the letter, and each once: what another
// reader might understand otherwise is refused.
func decode(part string, into any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	if err := plainObject(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// plainObject refuses objects with a name that is there twice, or that differs
// from another only by case, which encoding/json does not tell apart.
func plainObject(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errors.New("not an object")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		lower := strings.ToLower(text)
		if seen[lower] {
			return fmt.Errorf("%.50q is there twice", text)
		}
		seen[lower] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one object")
	}
	return nil
}

func (t *parsed) check() error {
	switch {
	// Tokens for other purposes have types of their own, such as at+jwt,
	// refresh+jwt and dpop+jwt (RFC 8725, 3.11).
	case t.header.Type != "" && !strings.EqualFold(t.header.Type, "JWT"):
		return fmt.Errorf("type %.20q", t.header.Type)
	case t.header.Critical != nil:
		return errors.New("extensions that must be understood (RFC 7515, 4.1.11)")
	case t.claims.Method == "" || t.claims.Audience == "" || t.claims.Expires == 0:
		return errors.New("lxm, aud or exp is missing")
	case t.claims.ID == "" || len(t.claims.ID) > maxID:
		return errors.New("jti is missing or too long")
	}
	// An account may be named with the service that speaks for it. Others than
	// its server have keys of their own, and are not the account.
	did, fragment, _ := strings.Cut(t.claims.Issuer, "#")
	if fragment != "" && fragment != "atproto" && fragment != "atproto_pds" {
		return fmt.Errorf("issued by a service %.50q", fragment)
	}
	var err error
	t.issuer, err = syntax.ParseDID(did)
	return err
}
