package admin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// Part is what one owner of a table has sealed.
type Part struct {
	Table string // as in docs/data.md
	What  string // for people, in the plural
	Owner interface {
		// Reseal seals everything with the newest master key.
		Reseal(ctx context.Context) (store.Resealed, error)
		// SealedWith counts values by the id of their master key.
		SealedWith(ctx context.Context) (map[string]int, error)
	}
}

// Parts is everything that is sealed in the database but for the key check.
func Parts(sessions *session.Manager, keys *session.Keys, attempts *login.Attempts, passwords *agent.SealedPasswords, hosted account.Seals) []Part {
	return []Part{
		{"oauth_session", "sessions", sessions},
		{"signing_key", "signing keys", keys},
		{"login_attempt", "sign-ins under way", attempts},
		{"app_password", "app passwords", passwords},
		{"hosted_account", "hosted accounts", hosted},
	}
}

// Seals is the master keys and what they have sealed.
type Seals struct {
	DB    *store.DB
	Ring  *keyring.Ring
	Parts []Part
	Trail *session.Manager // gets the audit row
}

// Reseal seals everything with the newest master key, the check value last, so
// that the older keys can be removed afterwards. It may be stopped and repeated,
// and run beside servers that hold the new key. Nobody is signed out.
func (s *Seals) Reseal(ctx context.Context, w io.Writer) error {
	if err := s.refuse(ctx); err != nil {
		return err
	}
	newest, unreadable := s.Ring.CurrentID(), 0
	for _, p := range s.Parts {
		done, err := p.Owner.Reseal(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", p.What, err)
		}
		unreadable += done.Unreadable
		fmt.Fprintf(w, "%s: %d sealed anew\n", p.What, done.Rows)
		if done.Unreadable > 0 {
			fmt.Fprintf(w, "%s: %d do not open with any key given, and were left as they are\n", p.What, done.Unreadable)
		}
	}
	if err := s.DB.ResealKeyCheck(ctx, s.Ring); err != nil {
		return err
	}
	if err := s.Trail.Record(ctx, session.Entry{Kind: session.KindResealed, Detail: newest}); err != nil {
		return err
	}
	if unreadable > 0 {
		return errUnreadable
	}
	_, err := fmt.Fprintf(w, "everything is sealed with master key %s; the keys below it in secret_key can be removed once every server has been restarted\n", newest)
	return err
}

var errUnreadable = errors.New("some values were sealed with a key that is not in secret_key any more; put it back below the new one and reseal again, or leave them: their members sign in again")

// refuse stops a reseal that would do nothing: most likely the new key was not
// put first.
func (s *Seals) refuse(ctx context.Context) error {
	counts, err := s.Counts(ctx)
	if err != nil {
		return err
	}
	newest := s.Ring.CurrentID()
	for id, n := range counts {
		if id != newest && n > 0 {
			return nil
		}
	}
	return fault.New(fault.Conflict, fmt.Sprintf(
		"everything is sealed with master key %s already, which is the first in secret_key. To rotate, put a new key above it (`atoll keys generate secret` makes one), restart the servers, and run this again.", newest))
}

// Counts counts all sealed values by the id of their master key, the check value
// among them.
func (s *Seals) Counts(ctx context.Context) (map[string]int, error) {
	check, err := s.DB.KeyCheckSealedWith(ctx)
	if err != nil {
		return nil, err
	}
	total := map[string]int{check: 1}
	for _, p := range s.Parts {
		counts, err := p.Owner.SealedWith(ctx)
		if err != nil {
			return nil, err
		}
		for id, n := range counts {
			total[id] += n
		}
	}
	return total, nil
}
