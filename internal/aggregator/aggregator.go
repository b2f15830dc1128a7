// Package aggregator lets services post to communities that want them: an account
// registers with a domain that it proves to own, gets a key, and may post where
// the community has authorized it, within limits.
package aggregator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// Directory answers who an account and a domain are; identity.Directory does.
type Directory interface {
	LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error)
	// WellKnownDID asks the web server of a domain which account it is of.
	WellKnownDID(ctx context.Context, domain syntax.Handle) (syntax.DID, error)
}

// Trail takes audit rows; session.Manager does.
type Trail interface {
	Record(ctx context.Context, e session.Entry) error
}

// Kinds of audit rows about aggregators. They are stored; a name is never reused.
const (
	KindRegistered session.Kind = "aggregator_registered" // Detail is the domain
	KindKeyMade    session.Kind = "aggregator_key_made"
	KindKeyRevoked session.Kind = "aggregator_key_revoked"
)

// Config is what a Service works with.
type Config struct {
	// DB holds the tables aggregator, aggregator_key and aggregator_post.
	DB        *store.DB
	Index     *index.Index
	Directory Directory
	Trail     Trail
	Logger    *slog.Logger
	// PostsPerHour bounds what one aggregator posts to one community by its key.
	PostsPerHour int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service registers aggregators and judges their keys. It is safe for concurrent
// use, also by several processes on one database.
type Service struct {
	cfg Config
	log *slog.Logger
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Directory == nil || cfg.Trail == nil || cfg.Logger == nil || cfg.PostsPerHour < 1 {
		return nil, errors.New("aggregator: database, index, directory, trail, logger and a limit of posts are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger.With("component", "aggregators")}, nil
}

// Registered is an account that may have a key.
type Registered struct {
	DID    syntax.DID
	Handle syntax.Handle // handle.invalid when none can be verified
	Domain string
}

// proofTimeout bounds asking a domain.
const proofTimeout = 15 * time.Second

// Register takes an account in that proves a domain: its web server answers the
// account's DID at /.well-known/atproto-did. Registering again proves it again,
// and may name another domain. Errors for people: Invalid with InvalidRequest or
// DomainVerificationFailed, Unavailable when the domain does not answer now.
func (s *Service) Register(ctx context.Context, did syntax.DID, domain string) (Registered, error) {
	host, err := parseDomain(domain)
	if err != nil {
		return Registered{}, err
	}
	asking, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	if err := s.prove(asking, did, host); err != nil {
		return Registered{}, fmt.Errorf("prove that %s is of %s: %w", host, did, err)
	}
	now := store.Micros(s.cfg.Now())
	err = s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO aggregator (did, domain, proven_at, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (did) DO UPDATE SET domain = excluded.domain, proven_at = excluded.proven_at`, did, host.String(), now, now)
		return err
	})
	if err != nil {
		return Registered{}, fmt.Errorf("register aggregator %s: %w", did, err)
	}
	if err := s.cfg.Trail.Record(ctx, session.Entry{Kind: KindRegistered, DID: did, Detail: host.String()}); err != nil {
		return Registered{}, err
	}
	out := Registered{DID: did, Handle: syntax.HandleInvalid, Domain: host.String()}
	if ident, err := s.cfg.Directory.LookupDID(asking, did); err == nil {
		out.Handle = ident.Handle
	}
	return out, nil
}

// parseDomain takes a bare host name.
func parseDomain(text string) (syntax.Handle, error) {
	text = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), ".")
	host, err := syntax.ParseHandle(text) // the grammar of a host name with a dot
	if _, isAddr := netip.ParseAddr(text); err != nil || isAddr == nil {
		return "", fault.Wrap(fault.Invalid, err, "The domain must be a host name such as bot.example.com, without https:// and without a path.").
			WithCode("InvalidRequest")
	}
	return host, nil
}

func (s *Service) prove(ctx context.Context, did syntax.DID, domain syntax.Handle) error {
	found, err := s.cfg.Directory.WellKnownDID(ctx, domain)
	const where = "/.well-known/atproto-did"
	switch {
	case errors.Is(err, identity.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "https://"+domain.String()+where+" does not answer now. Please try again later.")
	case err != nil:
		return fault.Wrap(fault.Invalid, err, "https://"+domain.String()+where+" must answer with "+did.String()+" and nothing else. It does not answer with a DID.").
			WithCode("DomainVerificationFailed")
	case found != did:
		return fault.Wrap(fault.Invalid, fmt.Errorf("it answers %s", found), "https://"+domain.String()+where+" answers with another DID than "+did.String()+".").
			WithCode("DomainVerificationFailed")
	}
	return nil
}

// Registration returns what is known of an aggregator; ok is false when the
// account is none.
func (s *Service) Registration(ctx context.Context, did syntax.DID) (domain string, ok bool, err error) {
	err = s.cfg.DB.Read().QueryRowContext(ctx, `SELECT domain FROM aggregator WHERE did = $1`, did).Scan(&domain)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look up aggregator %s: %w", did, err)
	}
	return domain, true, nil
}
