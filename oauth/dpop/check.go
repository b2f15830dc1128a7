package dpop

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/atoll-social/atoll/oauth/internal/es256"
)

// Why a proof was refused. All but ErrNonce are answered with
// invalid_dpop_proof; ErrNonce with use_dpop_nonce and a nonce, ErrOtherKey
// with invalid_token where an access token was presented.
var (
	ErrMissing   = errors.New("proof is missing")
	ErrSeveral   = errors.New("more than one proof")
	ErrMalformed = errors.New("proof is malformed")
	ErrAlgorithm = errors.New("proof is signed with an algorithm that is not allowed")
	ErrKey       = errors.New("proof does not carry a public key alone")
	ErrSignature = errors.New("proof signature is wrong")
	ErrMethod    = errors.New("proof is for another method")
	ErrURL       = errors.New("proof is for another URL")
	ErrTime      = errors.New("proof time is outside the window")
	ErrTokenHash = errors.New("proof is for another access token")
	ErrNonce     = errors.New("proof needs a fresh nonce")
	ErrReplayed  = errors.New("proof was used before")
	ErrOtherKey  = errors.New("proof is signed with another key")
)

// Bounds of what is read of a proof, in bytes.
const (
	maxProof = 8 << 10
	maxID    = 256
)

// CheckerConfig says how strict a Checker is.
type CheckerConfig struct {
	// MaxAge is how old a proof may be; zero means one minute.
	MaxAge time.Duration
	// MaxAhead is how far in the future a proof may be dated; zero means one
	// minute.
	MaxAhead time.Duration
	// Algorithms are the signature algorithms allowed; empty means ES256 alone.
	// Symmetric ones are refused by NewChecker.
	Algorithms []jose.SignatureAlgorithm
	// Replays remembers used proofs. Required.
	Replays *Replays
	// Nonce reports whether a nonce is one of ours and still fresh. Nil means
	// that nonces are not asked for; a proof may then carry any or none.
	Nonce func(nonce string, now time.Time) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Checker checks proofs as a server does (RFC 9449, 4.3). Safe for concurrent use.
type Checker struct{ cfg CheckerConfig }

// NewChecker makes a Checker.
func NewChecker(cfg CheckerConfig) (*Checker, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Minute
	}
	if cfg.MaxAhead == 0 {
		cfg.MaxAhead = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []jose.SignatureAlgorithm{jose.ES256}
	}
	for _, alg := range cfg.Algorithms {
		if alg == "none" || strings.HasPrefix(string(alg), "HS") {
			return nil, fmt.Errorf("algorithm %q: a proof needs an asymmetric one (RFC 9449, 4.3)", alg)
		}
	}
	if cfg.Replays == nil {
		return nil, errors.New("proof checker without Replays would accept a proof twice")
	}
	if cfg.MaxAge < 0 || cfg.MaxAhead < 0 {
		return nil, errors.New("proof window is negative")
	}
	return &Checker{cfg: cfg}, nil
}

// Expect is the request that a proof came with.
type Expect struct {
	// Method is the request's method, compared exactly.
	Method string
	// URL is the URL of the request as the public knows it; its query and
	// fragment don't count.
	URL string
	// AccessToken is the token presented with the proof: ath must be its hash.
	// Empty at authorization servers, where ath must be absent.
	AccessToken string
	// Thumbprint is the jkt that the token or code is bound to; empty when
	// nothing is bound yet.
	Thumbprint string
}

// Checked is what a valid proof says.
type Checked struct {
	// Thumbprint is the jkt of the key that signed, 43 characters.
	Thumbprint string
	// ID is the proof's jti.
	ID string
	// Time is when the client says it signed, to the second.
	Time time.Time
	// Nonce is the nonce it carried, perhaps none.
	Nonce string
}

// Check checks the values of the request's DPoP header, of which there must be
// exactly one. A proof that fails for any reason is not used up: Replays
// learns it last. Errors wrap the sentinel that says why; ErrNonce is judged
// last of all other reasons, so a client that is told so has done all else right.
func (c *Checker) Check(headers []string, want Expect) (*Checked, error) {
	switch {
	case len(headers) == 0 || (len(headers) == 1 && headers[0] == ""):
		return nil, ErrMissing
	case len(headers) > 1 || strings.Contains(headers[0], ","):
		return nil, ErrSeveral
	}
	p, err := parse(headers[0], c.cfg.Algorithms)
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	if err := c.compare(p, want, now); err != nil {
		return nil, err
	}
	oldest := now.Add(-c.cfg.MaxAge)
	if err := c.cfg.Replays.use(p.Thumbprint, p.ID, p.Time, oldest); err != nil {
		return nil, err
	}
	return &p.Checked, nil
}

// compare holds a proof against the request and the clock.
func (c *Checker) compare(p *parsed, want Expect, now time.Time) error {
	target, err := NormalizeURL(want.URL)
	if err != nil {
		return fmt.Errorf("expected URL: %w", err)
	}
	switch {
	case p.method != want.Method:
		return ErrMethod
	case p.url != target:
		return ErrURL
	case p.Time.Before(now.Add(-c.cfg.MaxAge).Truncate(time.Second)) || p.Time.After(now.Add(c.cfg.MaxAhead)):
		return ErrTime
	case want.AccessToken == "" && p.hash != "":
		return ErrTokenHash
	case want.AccessToken != "" && subtle.ConstantTimeCompare([]byte(p.hash), []byte(tokenHash(want.AccessToken))) != 1:
		return ErrTokenHash
	case want.Thumbprint != "" && p.Thumbprint != want.Thumbprint:
		return ErrOtherKey
	case c.cfg.Nonce != nil && (p.Nonce == "" || !c.cfg.Nonce(p.Nonce, now)):
		return ErrNonce
	}
	return nil
}

// parsed is a proof whose form and signature are right.
type parsed struct {
	Checked
	method, url, hash string
}

// parse checks form, algorithm, key and signature.
func parse(text string, algorithms []jose.SignatureAlgorithm) (*parsed, error) {
	if len(text) > maxProof || strings.Count(text, ".") != 2 {
		return nil, ErrMalformed
	}
	if err := checkHeader(text, algorithms); err != nil {
		return nil, err
	}
	jws, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, ErrMalformed
	}
	jwk := jws.Signatures[0].Protected.JSONWebKey
	if jwk == nil || !jwk.Valid() || !jwk.IsPublic() {
		return nil, ErrKey
	}
	payload, err := jws.Verify(jwk)
	if err != nil {
		return nil, ErrSignature
	}
	p, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	if p.Thumbprint, err = es256.Thumbprint(jwk); err != nil {
		return nil, ErrKey
	}
	return p, nil
}

// checkHeader reads the protected header before any cryptography is spent.
func checkHeader(text string, algorithms []jose.SignatureAlgorithm) error {
	encoded, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return ErrMalformed
	}
	var header struct {
		Type     string                     `json:"typ"`
		Alg      jose.SignatureAlgorithm    `json:"alg"`
		JWK      map[string]json.RawMessage `json:"jwk"`
		Critical json.RawMessage            `json:"crit"`
	}
	if err := json.Unmarshal(raw, &header); err != nil { // refuses repeated members
		return ErrMalformed
	}
	switch {
	case header.Type != proofType:
		return fmt.Errorf("%w: typ is not %s", ErrMalformed, proofType)
	case header.Critical != nil:
		return fmt.Errorf("%w: crit names what we do not know", ErrMalformed)
	case !slices.Contains(algorithms, header.Alg):
		return ErrAlgorithm
	case len(header.JWK) == 0:
		return ErrKey
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := header.JWK[private]; ok {
			return ErrKey
		}
	}
	return nil
}

// parseClaims reads the payload of a proof.
func parseClaims(payload []byte) (*parsed, error) {
	var c struct {
		ID     string   `json:"jti"`
		Method string   `json:"htm"`
		URL    string   `json:"htu"`
		Time   *float64 `json:"iat"`
		Hash   string   `json:"ath"`
		Nonce  string   `json:"nonce"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, ErrMalformed
	}
	switch {
	case c.ID == "" || len(c.ID) > maxID:
		return nil, fmt.Errorf("%w: jti", ErrMalformed)
	case c.Method == "":
		return nil, fmt.Errorf("%w: htm", ErrMalformed)
	case c.Time == nil || *c.Time < 0 || *c.Time > 1<<40:
		return nil, fmt.Errorf("%w: iat", ErrMalformed)
	case c.Nonce != "" && !validNonce(c.Nonce):
		return nil, fmt.Errorf("%w: nonce", ErrMalformed)
	}
	target, err := NormalizeURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: htu: %w", ErrMalformed, err)
	}
	return &parsed{
		Checked: Checked{ID: c.ID, Time: time.Unix(int64(*c.Time), 0).UTC(), Nonce: c.Nonce},
		method:  c.Method, url: target, hash: c.Hash,
	}, nil
}
