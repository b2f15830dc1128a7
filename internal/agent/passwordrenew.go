package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// renewTimeout bounds the calls of a renewal, and ends before the lease does.
	renewTimeout = 20 * time.Second
	renewLease   = 30 * time.Second
	// renewPoll is how often who waits for another process looks.
	renewPoll = 50 * time.Millisecond
)

// errNoPassword: the member has no password any more, or gave a new one.
var errNoPassword = errors.New("there is no app password")

// bearer sends requests with the session of a member's password.
func (p *Passwords) bearer(did syntax.DID) pds.Bearer {
	return pds.Bearer{HTTP: p.cfg.HTTP, Access: func(ctx context.Context, refused pds.Access) (pds.Access, error) {
		return p.access(ctx, did, refused.Token)
	}}
}

// access returns a token that is good now, and another than refused.
func (p *Passwords) access(ctx context.Context, did syntax.DID, refused keyring.Secret) (pds.Access, error) {
	row, ok, err := p.read(ctx, did)
	if err := usable(row, ok, err); err != nil {
		return pds.Access{}, err
	}
	if fresh(row, refused, p.cfg.Now()) {
		return pds.Access{Origin: row.pds, Token: row.access}, nil
	}
	return p.renewed(ctx, did, refused)
}

func usable(row passwordRow, ok bool, err error) error {
	switch {
	case err != nil:
		return err
	case !ok:
		return errNoPassword
	case row.refused:
		return errPasswordRefused
	}
	return nil
}

// fresh reports that the row's token is good and another one than refused.
func fresh(row passwordRow, refused keyring.Secret, now time.Time) bool {
	return isGood(row.access, row.accessExpires, now) && (refused.IsZero() || !row.access.Equal(refused))
}

// renewal is one that is under way in this process.
type renewal struct {
	done   chan struct{}
	access pds.Access
	err    error
}

// renewed renews a member's session, or waits for who does. A renewal that began
// is finished although the request that wanted it has ended.
func (p *Passwords) renewed(ctx context.Context, did syntax.DID, refused keyring.Secret) (pds.Access, error) {
	p.mu.Lock()
	r, running := p.renewal[did]
	if !running {
		r = &renewal{done: make(chan struct{})}
		p.renewal[did] = r
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewLease+renewTimeout)
			defer cancel()
			r.access, r.err = p.renew(ctx, did, refused)
			p.mu.Lock()
			delete(p.renewal, did)
			p.mu.Unlock()
			close(r.done)
		}()
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.access, r.err
	case <-ctx.Done():
		return pds.Access{}, ctx.Err()
	}
}

// renew does it once over all processes: only who holds the lease asks the
// server, the others wait and take over what it has saved.
func (p *Passwords) renew(ctx context.Context, did syntax.DID, refused keyring.Secret) (pds.Access, error) {
	for {
		row, ok, err := p.read(ctx, did)
		if err := usable(row, ok, err); err != nil {
			return pds.Access{}, err
		}
		now := p.cfg.Now()
		if fresh(row, refused, now) {
			return pds.Access{Origin: row.pds, Token: row.access}, nil
		}
		if row.leaseUntil.Before(now) {
			got, err := p.lease(ctx, did, row.version, now)
			if err != nil {
				return pds.Access{}, err
			}
			if got {
				return p.renewHeld(ctx, did, row)
			}
		}
		select {
		case <-ctx.Done():
			return pds.Access{}, fmt.Errorf("wait for the renewal of %s: %w", did, ctx.Err())
		case <-time.After(renewPoll):
		}
	}
}

// lease takes the right to renew, if nobody has it.
func (p *Passwords) lease(ctx context.Context, did syntax.DID, version int64, now time.Time) (got bool, err error) {
	err = p.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE app_password SET lease_owner = $1, lease_until = $2
			WHERE did = $3 AND version = $4 AND lease_until < $5`,
			p.owner, store.Micros(now.Add(renewLease)), did, version, store.Micros(now))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		got = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("lease session of %s: %w", did, err)
	}
	return got, nil
}

// renewHeld asks the server and saves what it says, both tokens at once.
func (p *Passwords) renewHeld(ctx context.Context, did syntax.DID, row passwordRow) (pds.Access, error) {
	calling, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	server, err := p.server(row.pds)
	if err != nil {
		return pds.Access{}, err
	}
	s, err := newSession(calling, server, row.refresh, func(ctx context.Context) (*pds.Session, error) {
		return server.CreateSession(ctx, did.AtIdentifier(), row.password)
	})
	if err == nil && s.DID != did {
		err = fmt.Errorf("%w: a session of %s instead of %s", pds.ErrBadAnswer, s.DID, did)
	}
	if err != nil {
		return pds.Access{}, errors.Join(err, p.release(ctx, did, row, errors.Is(err, errPasswordRefused)))
	}
	sealed, err := p.seal(did, row.password, s)
	if err != nil {
		return pds.Access{}, err
	}
	return pds.Access{Origin: row.pds, Token: s.Access}, p.finish(ctx, did, row.version, `access_token = $4, refresh_token = $5, access_expires_at = $6`,
		sealed.access, sealed.refresh, store.Micros(s.AccessExpires))
}

// release gives the lease back. A password that the server refused is not tried
// again until the member gives another.
func (p *Passwords) release(ctx context.Context, did syntax.DID, row passwordRow, refused bool) error {
	if !refused {
		return p.finish(ctx, did, row.version, `refused_at = CAST($4 AS BIGINT)`, int64(0))
	}
	p.log.WarnContext(ctx, "app password is not accepted any more", "did", did, "pds", row.pds)
	err := p.finish(ctx, did, row.version, `refused_at = CAST($4 AS BIGINT)`, store.Micros(p.cfg.Now()))
	return errors.Join(err, p.cfg.Trail.Record(ctx, session.Entry{Kind: KindPasswordRefused, DID: did, Detail: row.pds}))
}

// finish ends a renewal. A member who has given another password, or taken this
// one back, in the meantime keeps what they did.
func (p *Passwords) finish(ctx context.Context, did syntax.DID, version int64, set string, values ...any) error {
	err := p.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE app_password SET version = version + 1, lease_owner = '', lease_until = 0, `+set+`
			WHERE did = $1 AND version = $2 AND lease_owner = $3`, append([]any{did, version, p.owner}, values...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("save session of %s: %w", did, err)
	}
	return nil
}

// passwordOver is what a person is told of errPasswordRefused.
func passwordOver(err error) error {
	return &Error{Kind: NeedsSignIn, public: fault.Wrap(fault.Unauthenticated, err,
		"Your server does not take the app password any more that you gave. Give a new one on your account page, or sign in again.").
		WithCode("SignInAgain")}
}
