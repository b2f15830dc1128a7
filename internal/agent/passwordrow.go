package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// passwordRow is a row of app_password, opened.
type passwordRow struct {
	pds                       string
	password, access, refresh keyring.Secret
	accessExpires             time.Time
	version                   int64
	leaseOwner                string
	leaseUntil                time.Time
	refused                   bool
}

// sealedRow is the sealed part of a row.
type sealedRow struct{ password, access, refresh []byte }

func (p *Passwords) place(column string, did syntax.DID) keyring.Place {
	return keyring.Place{Table: "app_password", Column: column, Key: did.String()}
}

func (p *Passwords) seal(did syntax.DID, password keyring.Secret, s *pds.Session) (row sealedRow, err error) {
	for _, part := range []struct {
		column string
		plain  keyring.Secret
		sealed *[]byte
	}{{"password", password, &row.password}, {"access_token", s.Access, &row.access}, {"refresh_token", s.Refresh, &row.refresh}} {
		if part.plain.IsZero() {
			*part.sealed = []byte{}
			continue
		}
		if *part.sealed, err = p.cfg.Ring.Seal([]byte(part.plain.Reveal()), p.place(part.column, did)); err != nil {
			return sealedRow{}, err
		}
	}
	return row, nil
}

// read opens a member's row; ok tells whether there is one, also beside an error.
func (p *Passwords) read(ctx context.Context, did syntax.DID) (row passwordRow, ok bool, err error) {
	var sealed sealedRow
	var expires, lease, refused int64
	err = p.cfg.DB.Read().QueryRowContext(ctx, `
		SELECT pds, password, access_token, refresh_token, access_expires_at, version, lease_owner, lease_until, refused_at
		FROM app_password WHERE did = $1`, did).
		Scan(&row.pds, &sealed.password, &sealed.access, &sealed.refresh, &expires, &row.version, &row.leaseOwner, &lease, &refused)
	if errors.Is(err, sql.ErrNoRows) {
		return passwordRow{}, false, nil
	}
	if err != nil {
		return passwordRow{}, false, fmt.Errorf("read app password of %s: %w", did, err)
	}
	row.accessExpires, row.leaseUntil, row.refused = store.FromMicros(expires), store.FromMicros(lease), refused != 0
	for _, part := range []struct {
		column string
		sealed []byte
		plain  *keyring.Secret
	}{{"password", sealed.password, &row.password}, {"access_token", sealed.access, &row.access}, {"refresh_token", sealed.refresh, &row.refresh}} {
		if len(part.sealed) == 0 {
			continue
		}
		plain, err := p.cfg.Ring.Open(part.sealed, p.place(part.column, did))
		if err != nil {
			return row, true, fmt.Errorf("open app password of %s: %w", did, err)
		}
		*part.plain = keyring.NewSecret(string(plain))
	}
	return row, true, nil
}

func sealedPasswords() store.Sealed[string] {
	return store.Sealed[string]{
		Table: "app_password", Key: "did", Columns: []string{"password", "access_token", "refresh_token"},
		Place: func(did string) string { return did },
	}
}

// SealedPasswords is what a change of the master key needs of app passwords.
type SealedPasswords struct {
	DB   *store.DB
	Ring *keyring.Ring
}

// Reseal seals every password with the newest master key; see store.Reseal.
func (s *SealedPasswords) Reseal(ctx context.Context) (store.Resealed, error) {
	return store.Reseal(ctx, s.DB, s.Ring, sealedPasswords())
}

// SealedWith counts the sealed values by master key id.
func (s *SealedPasswords) SealedWith(ctx context.Context) (map[string]int, error) {
	return sealedPasswords().SealedWith(ctx, s.DB)
}
