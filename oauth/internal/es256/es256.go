// Package es256 is the one kind of key that AT Protocol OAuth signs with:
// ECDSA on P-256 with SHA-256, as a JSON Web Key and as a compact JWS.
package es256

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ErrKey is wrapped by every error of Parse.
var ErrKey = errors.New("not a private ES256 key")

// size is the length of a coordinate, of the private scalar and of each half
// of a signature, in bytes.
const size = 32

// Key is a private ES256 key. It is immutable and safe for concurrent use.
type Key struct {
	private    *ecdsa.PrivateKey
	public     PublicJWK
	thumbprint string
}

// PublicJWK is the public half as RFC 7518 (6.2) writes it, its members in the
// order of RFC 7638 (3.2).
type PublicJWK struct {
	Curve string `json:"crv"`
	Type  string `json:"kty"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// Generate makes a new key from the system's randomness.
func Generate() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate P-256 key: %w", err)
	}
	return wrap(private)
}

// Parse reads a private JWK and returns its key and its kid, which may be
// empty. The public half must be there and belong to the private one.
func Parse(text []byte) (*Key, string, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil {
		return nil, "", ErrKey // the cause could quote the key
	}
	given, ok := jwk.Key.(*ecdsa.PrivateKey)
	if !ok || given.Curve != elliptic.P256() {
		return nil, "", ErrKey
	}
	if (jwk.Algorithm != "" && jwk.Algorithm != string(jose.ES256)) || (jwk.Use != "" && jwk.Use != "sig") {
		return nil, "", fmt.Errorf("%w: meant for something else", ErrKey)
	}
	scalar, err := given.Bytes()
	if err != nil {
		return nil, "", ErrKey
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil || !private.PublicKey.Equal(&given.PublicKey) {
		return nil, "", fmt.Errorf("%w: its halves do not belong together", ErrKey)
	}
	key, err := wrap(private)
	return key, jwk.KeyID, err
}

func wrap(private *ecdsa.PrivateKey) (*Key, error) {
	point, err := private.PublicKey.Bytes() // 0x04 | x | y
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	k := &Key{private: private, public: PublicJWK{
		Curve: "P-256", Type: "EC",
		X: base64.RawURLEncoding.EncodeToString(point[1 : 1+size]),
		Y: base64.RawURLEncoding.EncodeToString(point[1+size:]),
	}}
	text, err := json.Marshal(k.public)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(text)
	k.thumbprint = base64.RawURLEncoding.EncodeToString(hash[:])
	return k, nil
}

// Public returns the public half.
func (k *Key) Public() PublicJWK { return k.public }

// Thumbprint returns the SHA-256 thumbprint of the public half (RFC 7638),
// base64url without padding, 43 characters.
func (k *Key) Thumbprint() string { return k.thumbprint }

// PrivateJWK returns the whole key as a JWK, with kid unless that is empty.
// It is a secret: seal it before it is stored.
func (k *Key) PrivateJWK(kid string) ([]byte, error) {
	scalar, err := k.private.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return json.Marshal(struct {
		PublicJWK
		D   string `json:"d"`
		Kid string `json:"kid,omitempty"`
	}{k.public, base64.RawURLEncoding.EncodeToString(scalar), kid})
}

// Header encodes a protected header for Sign.
func Header(fields any) (string, error) {
	text, err := marshal(fields)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

// Sign returns a compact JWS (RFC 7515, 7.1; RFC 7518, 3.4) of claims under an
// encoded header.
func (k *Key) Sign(header string, claims any) (string, error) {
	payload, err := marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	out := make([]byte, 0, len(header)+enc.EncodedLen(len(payload))+enc.EncodedLen(2*size)+2)
	out = append(out, header...)
	out = append(out, '.')
	out = enc.AppendEncode(out, payload)
	digest := sha256.Sum256(out)
	r, s, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	var signature [2 * size]byte
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	out = append(out, '.')
	return string(enc.AppendEncode(out, signature[:])), nil
}

// Thumbprint returns the SHA-256 thumbprint of a public key of any kind.
func Thumbprint(jwk *jose.JSONWebKey) (string, error) {
	hash, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(hash), nil
}

// marshal writes JSON without escaping &, < and >, which claims carry in URLs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
