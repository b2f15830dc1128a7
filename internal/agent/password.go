package agent

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// Kinds of audit rows about app passwords. They are stored; a name is never
// reused.
const (
	KindPasswordGiven   session.Kind = "app_password_given"
	KindPasswordRemoved session.Kind = "app_password_removed"
	KindPasswordRefused session.Kind = "app_password_refused" // its server takes it no more
)

// Trail takes audit rows; session.Manager does.
type Trail interface {
	Record(ctx context.Context, e session.Entry) error
}

// PasswordsConfig is what Passwords works with.
type PasswordsConfig struct {
	// DB holds the table app_password, whose secrets Ring seals.
	DB        *store.DB
	Ring      *keyring.Ring
	Directory Directory
	// HTTP reaches members' servers: a guarded client with limits.
	HTTP   pds.Doer
	Trail  Trail
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Passwords keeps the app passwords that members have given (A4). It is safe for
// concurrent use, also by several processes on one database.
type Passwords struct {
	cfg   PasswordsConfig
	log   *slog.Logger
	owner string // names this process where it holds a lease

	mu      sync.Mutex
	renewal map[syntax.DID]*renewal
}

// NewPasswords checks cfg. It does no I/O.
func NewPasswords(cfg PasswordsConfig) (*Passwords, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.Directory == nil || cfg.HTTP == nil || cfg.Trail == nil || cfg.Logger == nil {
		return nil, errors.New("agent: app passwords need database, ring, directory, client, trail and logger")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Passwords{cfg: cfg, log: cfg.Logger.With("component", "app passwords"), owner: rand.Text(),
		renewal: map[syntax.DID]*renewal{}}, nil
}

// PasswordInfo is what is known of a member's app password. It holds no secret.
type PasswordInfo struct {
	PDS     string // origin that it was proven at
	GivenAt time.Time
	// RefusedAt is when the member's server last did not take it; zero while it
	// works.
	RefusedAt time.Time
}

// maxPassword bounds a password, in bytes.
const maxPassword = 256

// Give keeps a password in place of an earlier one, once the member's own server
// has taken it. Errors are for people: Invalid with the codes InvalidRequest,
// WrongPassword or MainPassword; Limited, Unavailable, those of an identity.
func (p *Passwords) Give(ctx context.Context, did syntax.DID, password keyring.Secret) error {
	if n := len(password.Reveal()); n == 0 || n > maxPassword {
		return fault.New(fault.Invalid, "That is no app password. Your server shows one when you make it there.").WithCode("InvalidRequest")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	origin, err := hostOf(ctx, p.cfg.Directory, did)
	if err != nil {
		return fmt.Errorf("app password of %s: %w", did, plain(err))
	}
	server, err := p.server(origin)
	if err != nil {
		return err
	}
	s, err := server.CreateSession(ctx, did.AtIdentifier(), password)
	if err := p.judge(ctx, server, did, s, err); err != nil {
		return fmt.Errorf("app password of %s at %s: %w", did, origin, err)
	}
	if err := p.keep(ctx, did, origin, password, s); err != nil {
		return fmt.Errorf("keep app password of %s: %w", did, err)
	}
	return nil
}

// judge says what is wrong with a password that a server was asked about.
func (p *Passwords) judge(ctx context.Context, server *pds.Client, did syntax.DID, s *pds.Session, err error) error {
	switch {
	case isPasswordRefused(err):
		return fault.Wrap(fault.Invalid, err, "Your server does not take this app password. Make a new one there, and copy it whole.").
			WithCode("WrongPassword")
	case err != nil:
		return pds.Fault(err)
	}
	var wrong error
	switch {
	case s.DID != did:
		wrong = fault.Wrap(fault.Invalid, fmt.Errorf("session is for %s", s.DID), "This password belongs to another account.").WithCode("WrongPassword")
	case s.MainPassword:
		wrong = fault.New(fault.Invalid, "This is the password of your account itself, which nobody but your server should know. "+
			"It was not kept. Make an app password at your server and give that.").WithCode("MainPassword")
	default:
		return nil
	}
	if err := server.DeleteSession(ctx, s.Refresh); err != nil {
		p.log.WarnContext(ctx, "session of a password that was not kept could not be ended", "did", did, "error", err)
	}
	return wrong
}

func (p *Passwords) keep(ctx context.Context, did syntax.DID, origin string, password keyring.Secret, s *pds.Session) error {
	row, err := p.seal(did, password, s)
	if err != nil {
		return err
	}
	err = p.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO app_password (did, pds, password, access_token, refresh_token, access_expires_at, version,
				lease_owner, lease_until, refused_at, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, 1, '', 0, 0, $7)
			ON CONFLICT (did) DO UPDATE SET pds = excluded.pds, password = excluded.password,
				access_token = excluded.access_token, refresh_token = excluded.refresh_token,
				access_expires_at = excluded.access_expires_at, version = app_password.version + 1,
				lease_owner = '', lease_until = 0, refused_at = 0, created_at = excluded.created_at`,
			did, origin, row.password, row.access, row.refresh, store.Micros(s.AccessExpires), store.Micros(p.cfg.Now()))
		return err
	})
	if err != nil {
		return err
	}
	return p.cfg.Trail.Record(ctx, session.Entry{Kind: KindPasswordGiven, DID: did, Detail: origin})
}

// Remove forgets a member's password and ends its session. Removing none is no
// error.
func (p *Passwords) Remove(ctx context.Context, did syntax.DID) error {
	ctx = context.WithoutCancel(ctx)
	row, ok, err := p.read(ctx, did)
	if err != nil && !ok || !ok {
		return err
	}
	// What cannot be opened is removed all the same.
	err = p.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM app_password WHERE did = $1`, did)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove app password of %s: %w", did, err)
	}
	if err := p.cfg.Trail.Record(ctx, session.Entry{Kind: KindPasswordRemoved, DID: did, Detail: row.pds}); err != nil {
		return err
	}
	if server, err := p.server(row.pds); err == nil && !row.refresh.IsZero() {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		if err := server.DeleteSession(ctx, row.refresh); err != nil {
			p.log.WarnContext(ctx, "session of a removed app password could not be ended", "did", did, "error", err)
		}
	}
	return nil
}

// Info tells what is known of a member's password; ok is false when there is none.
func (p *Passwords) Info(ctx context.Context, did syntax.DID) (info PasswordInfo, ok bool, err error) {
	var given, refused int64
	err = p.cfg.DB.Read().QueryRowContext(ctx, `SELECT pds, created_at, refused_at FROM app_password WHERE did = $1`, did).
		Scan(&info.PDS, &given, &refused)
	if errors.Is(err, sql.ErrNoRows) {
		return PasswordInfo{}, false, nil
	}
	if err != nil {
		return PasswordInfo{}, false, fmt.Errorf("look up app password of %s: %w", did, err)
	}
	info.GivenAt, info.RefusedAt = store.FromMicros(given), store.FromMicros(refused)
	return info, true, nil
}

// doer sends requests to origin with the member's password session. The error
// is errNoPassword when there is none that fits.
func (p *Passwords) doer(ctx context.Context, did syntax.DID, origin string) (pds.Doer, error) {
	info, ok, err := p.Info(ctx, did)
	switch {
	case err != nil:
		return nil, err
	case !ok || info.PDS != origin || !info.RefusedAt.IsZero(): // it is not taken along to another server
		return nil, errNoPassword
	}
	return p.bearer(did), nil
}

func (p *Passwords) server(origin string) (*pds.Client, error) {
	return pds.New(pds.Config{Origin: origin, HTTP: p.cfg.HTTP, Now: p.cfg.Now})
}

// hostOf finds the server of an account.
func hostOf(ctx context.Context, directory Directory, did syntax.DID) (string, error) {
	ident, err := directory.LookupDID(ctx, did)
	if err != nil {
		return "", identityError(err)
	}
	origin, err := directory.PDS(ident)
	if err != nil {
		return "", identityError(err)
	}
	return origin, nil
}

// plain makes what hostOf returns fit for a person.
func plain(err error) error {
	if isUnreachable(err) {
		return unreachable(err)
	}
	return err
}
