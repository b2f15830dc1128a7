// Package servicetoken finds out who asks by the tokens that members' servers
// sign for them when a call comes through there (AT Protocol XRPC specification,
// inter-service authentication). A token is good for one instance, one method, a
// short while, and once.
package servicetoken

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// maxLife is the longest that a token may still be good. Servers sign for a
	// minute; some clients ask for more.
	maxLife = 10 * time.Minute
	// skew is how far another server's clock may be from ours.
	skew = 30 * time.Second
	// freshFor is how old an identity may be that is looked at again after a
	// signature did not fit: one look-up in that time, whatever arrives.
	freshFor = 30 * time.Second
)

// Directory answers who an account is; identity.Directory does.
type Directory interface {
	LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error)
	LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error)
	// Remembers reports that LookupDID would ask nobody.
	Remembers(did syntax.DID) bool
}

// Config is what a Verifier works with.
type Config struct {
	// DB holds the table service_token.
	DB        *store.DB
	Directory Directory
	// Audience is the instance's own DID, Service the fragment by which its
	// document names the API (identity.InstanceServiceID).
	Audience syntax.DID
	Service  string
	Logger   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Verifier judges service tokens. It is safe for concurrent use.
type Verifier struct {
	cfg  Config
	log  *slog.Logger
	used *window
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Verifier, error) {
	if cfg.DB == nil || cfg.Directory == nil || cfg.Audience == "" || !strings.HasPrefix(cfg.Service, "#") || cfg.Logger == nil {
		return nil, errors.New("servicetoken: database, directory, audience, service and logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg, log: cfg.Logger.With("component", "service tokens"), used: newWindow(cfg.Now)}, nil
}

// Caller is who asks.
type Caller struct {
	DID    syntax.DID
	Handle syntax.Handle // empty when none can be verified
}

// Verify says who asks for method by this token. write says that the method
// changes something: such a token is then used up for all processes, and for this
// one otherwise. Whoever sends a token is unproven until its issuer has been
// looked up: before others are asked for that, ask is called, whose errors are
// passed on. Errors are for people: Unauthenticated with the code
// AuthRequired, which say what is wrong with the token; Unavailable when the
// account's identity cannot be looked up now.
func (v *Verifier) Verify(ctx context.Context, token string, method syntax.NSID, write bool, ask func() error) (Caller, error) {
	t, err := parse(token)
	if err != nil {
		return Caller{}, refuse(err, "cannot be read")
	}
	if err := v.judge(t, method); err != nil {
		return Caller{}, err
	}
	ident, err := v.signer(ctx, t, ask)
	if err != nil {
		return Caller{}, err
	}
	if err := v.once(ctx, t, write); err != nil {
		return Caller{}, err
	}
	who := Caller{DID: t.issuer}
	if !ident.Handle.IsInvalidHandle() {
		who.Handle = ident.Handle
	}
	return who, nil
}

// judge looks at what the token says of itself, before anybody is asked.
func (v *Verifier) judge(t *parsed, method syntax.NSID) error {
	c, now := t.claims, v.cfg.Now()
	expires := time.Unix(c.Expires, 0)
	audience := v.cfg.Audience.String()
	switch {
	case c.Audience != audience && c.Audience != audience+v.cfg.Service:
		return refuse(nil, "is for another server than "+audience)
	case c.Method != method.String():
		return refuse(nil, "is not for the method "+method.String())
	case !now.Before(expires):
		return refuse(nil, "has expired")
	case expires.After(now.Add(maxLife + skew)):
		return refuse(nil, fmt.Sprintf("is good for longer than %d minutes", maxLife/time.Minute))
	case time.Unix(c.IssuedAt, 0).After(now.Add(skew)), time.Unix(c.NotBefore, 0).After(now.Add(skew)):
		return refuse(nil, "is not good yet")
	}
	return nil
}

// signer looks the issuer up, whose key must have signed the token. Keys change:
// when the signature does not fit, the identity is looked up anew, once.
func (v *Verifier) signer(ctx context.Context, t *parsed, ask func() error) (*sdk.Identity, error) {
	if !v.cfg.Directory.Remembers(t.issuer) {
		if err := ask(); err != nil {
			return nil, err
		}
	}
	ident, err := v.cfg.Directory.LookupDID(ctx, t.issuer)
	if err == nil && t.signedBy(ident) == nil {
		return ident, nil
	}
	if err == nil {
		if err := ask(); err != nil {
			return nil, err
		}
		ident, err = v.cfg.Directory.LookupFresh(ctx, t.issuer.AtIdentifier(), freshFor)
	}
	switch {
	case errors.Is(err, identity.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("service token: %w", identity.Fault(err))
	case err != nil:
		return nil, refuse(err, "is by an account that cannot be found")
	}
	if err := t.signedBy(ident); err != nil {
		return nil, refuse(err, "is not signed by the account's key")
	}
	return ident, nil
}

// signedBy checks the signature. The key decides which algorithm is right, not
// the token.
func (t *parsed) signedBy(ident *sdk.Identity) error {
	key, err := ident.GetPublicKey("atproto")
	if err != nil {
		return err
	}
	var alg string
	switch key.(type) {
	case *atcrypto.PublicKeyP256:
		alg = "ES256"
	case *atcrypto.PublicKeyK256:
		alg = "ES256K"
	}
	if alg == "" || alg != t.header.Algorithm {
		return fmt.Errorf("algorithm %.20q does not go with the key", t.header.Algorithm)
	}
	// Which of the two forms of a signature it is does not matter here: a token
	// is known by what it says, not by its bytes.
	return key.HashAndVerifyLenient(t.signed, t.signature)
}

// refuse says what is wrong with a token, in words that end the sentence.
func refuse(cause error, what string) error {
	return fault.Wrap(fault.Unauthenticated, cause, "The service token "+what+".").WithCode("AuthRequired")
}
