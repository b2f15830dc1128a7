package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"
)

const proofType = "dpop+jwt" // RFC 9449, 4.2

// Proof is what a proof is made for: one request to one server.
type Proof struct {
	// Method is the request's method, as sent.
	Method string
	// URL is the absolute http or https URL of the request. Query and fragment
	// may be there; they are left out of the proof.
	URL string
	// Time is the moment of signing as the server's clock shows it: the own
	// clock plus the offset that Clocks has learnt. Seconds count.
	Time time.Time
	// AccessToken binds the proof to a token; empty at authorization servers.
	AccessToken string
	// Nonce is the server's latest nonce; empty when none is known yet.
	Nonce string
}

type claims struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	Time   int64  `json:"iat"`
	Hash   string `json:"ath,omitempty"`
	Nonce  string `json:"nonce,omitempty"`
}

// Sign makes the proof: a compact JWS with typ dpop+jwt, the public key alone
// as jwk, and jti (128 random bits), htm, htu, iat, and where given ath and
// nonce. Every call makes another one. It fails only for a Method or URL that
// no request could have.
func (k *Key) Sign(p Proof) (string, error) {
	target, err := NormalizeURL(p.URL)
	if err != nil {
		return "", err
	}
	if p.Method == "" {
		return "", errors.New("proof without a method")
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	c := claims{
		ID:     base64.RawURLEncoding.EncodeToString(id[:]),
		Method: p.Method,
		URL:    target,
		Time:   p.Time.Unix(),
		Nonce:  p.Nonce,
	}
	if p.AccessToken != "" {
		c.Hash = tokenHash(p.AccessToken)
	}
	return k.key.Sign(k.header, c)
}

// tokenHash is the claim ath of a token (RFC 9449, 4.2).
func tokenHash(token string) string {
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// NormalizeURL returns the claim htu of a URL: without query and fragment,
// normalised by syntax and scheme (RFC 9449, 4.3; RFC 3986, 6.2.2 and 6.2.3)
// so that both sides write the same text. It refuses what is not an absolute
// http or https URL, and one that carries credentials.
func NormalizeURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("not a URL")
	}
	origin, err := originOf(u)
	if err != nil {
		return "", err
	}
	path := normalizeEscapes(u.EscapedPath())
	if strings.Contains(path, "/.") { // perhaps dot segments
		path = (&url.URL{}).ResolveReference(&url.URL{Path: u.Path, RawPath: path}).EscapedPath()
	}
	if path == "" {
		path = "/"
	}
	return origin + path, nil
}

// Origin returns scheme, host and, unless it is the scheme's own, port of an
// absolute http or https URL, in lower case. Nonces and clocks are kept by it.
func Origin(u *url.URL) (string, error) { return originOf(u) }

func originOf(u *url.URL) (string, error) {
	scheme := u.Scheme // url.Parse has put it in lower case
	switch {
	case scheme != "http" && scheme != "https":
		return "", errors.New("not an http or https URL")
	case u.Opaque != "" || u.Hostname() == "":
		return "", errors.New("URL without a host")
	case u.User != nil:
		return "", errors.New("URL with credentials")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if (scheme == "https" && port == "443") || (scheme == "http" && port == "80") {
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return scheme + "://" + host, nil
}

// normalizeEscapes writes percent-encodings in upper case and undoes those of
// characters that never need one.
func normalizeEscapes(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		c, ok := unhex(path[i+1], path[i+2])
		switch {
		case !ok:
			b.WriteByte('%')
			continue
		case unreserved(c):
			b.WriteByte(c)
		default:
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func unhex(high, low byte) (byte, bool) {
	h, l := strings.IndexByte(hexDigits, lower(high)), strings.IndexByte(hexDigits, lower(low))
	if h < 0 || l < 0 {
		return 0, false
	}
	return byte(h<<4 | l), true
}

const hexDigits = "0123456789abcdef"

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
