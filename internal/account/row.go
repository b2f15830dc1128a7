package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// row is one account with its secrets.
type row struct {
	id          string
	createdBy   syntax.DID
	requestKey  string
	name        string
	handle      syntax.Handle
	did         syntax.DID // empty until it is known
	pds, email  string
	state       state
	status      string // of the account at its PDS
	needsRepair bool

	record    []byte // JSON
	recordCID syntax.CID
	recordRev syntax.TID

	recoveryDID string
	secrets     map[string]keyring.Secret // by column

	accessExpires time.Time
	version       int64 // of the tokens
	renewedAt     time.Time
	// sentAt is when the account was asked for without a clear answer: it may
	// exist, or come into being a little later.
	sentAt time.Time

	failure *fault.Error // what the person is told
	problem string       // what the operator sees

	createdAt, updatedAt, checkedAt time.Time
}

// The sealed columns.
const (
	password     = "password"
	recoveryKey  = "recovery_key"
	invite       = "invite"
	accessToken  = "access_token"
	refreshToken = "refresh_token"
)

const table = "hosted_account"

func sealedColumns() []string {
	return []string{password, recoveryKey, invite, accessToken, refreshToken}
}

func place(column, id string) keyring.Place {
	return keyring.Place{Table: table, Column: column, Key: id}
}

// columns are all that a row holds but its lease, the sealed ones last.
const columns = `id, created_by, request_key, name, handle, did, pds, email, state, status, needs_repair,
	record, record_cid, record_rev, recovery_did, access_expires, version, renewed_at, sent_at,
	failure_kind, failure_code, failure, problem, created_at, updated_at, checked_at,
	password, recovery_key, invite, access_token, refresh_token`

// errNone says that there is no such account.
var errNone = errors.New("no such hosted account")

// get reads the one row that a condition with the parameter $1 selects.
func (m *Manager) get(ctx context.Context, q store.Querier, where string, arg any) (*row, error) {
	r, err := m.scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM hosted_account WHERE `+where, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNone
	}
	if err != nil {
		return nil, fmt.Errorf("read hosted account: %w", err)
	}
	return r, nil
}

// all reads the rows that a condition without parameters selects.
func (m *Manager) all(ctx context.Context, where string, args ...any) ([]*row, error) {
	rows, err := m.cfg.DB.Read().QueryContext(ctx, `SELECT `+columns+` FROM hosted_account WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read hosted accounts: %w", err)
	}
	defer rows.Close()
	var list []*row
	for rows.Next() {
		r, err := m.scan(rows)
		if errors.Is(err, keyring.ErrUnknownKey) || errors.Is(err, keyring.ErrTampered) {
			m.log.ErrorContext(ctx, "credentials of a hosted account do not open with any key in secret_key; it is passed over", "error", err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read hosted accounts: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func (m *Manager) scan(from interface{ Scan(...any) error }) (*row, error) {
	r := &row{secrets: map[string]keyring.Secret{}}
	var expires, renewed, sent, created, updated, checked, kind int64
	var code, failure string
	sealed := make([][]byte, len(sealedColumns()))
	err := from.Scan(&r.id, &r.createdBy, &r.requestKey, &r.name, &r.handle, &r.did, &r.pds, &r.email, &r.state, &r.status,
		&r.needsRepair, &r.record, &r.recordCID, &r.recordRev, &r.recoveryDID, &expires, &r.version, &renewed, &sent,
		&kind, &code, &failure, &r.problem, &created, &updated, &checked,
		&sealed[0], &sealed[1], &sealed[2], &sealed[3], &sealed[4])
	if err != nil {
		return nil, err
	}
	for i, column := range sealedColumns() {
		if len(sealed[i]) == 0 {
			continue
		}
		plain, err := m.cfg.Ring.Open(sealed[i], place(column, r.id))
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", r.id, err)
		}
		r.secrets[column] = keyring.NewSecret(string(plain))
	}
	r.accessExpires, r.renewedAt, r.sentAt = store.FromMicros(expires), store.FromMicros(renewed), store.FromMicros(sent)
	r.createdAt, r.updatedAt, r.checkedAt = store.FromMicros(created), store.FromMicros(updated), store.FromMicros(checked)
	if failure != "" {
		r.failure = fault.New(fault.Kind(kind), failure).WithCode(code)
	}
	return r, nil
}

// values are the parameters for columns, in their order.
func (m *Manager) values(r *row) ([]any, error) {
	failed := r.failure
	if failed == nil {
		failed = &fault.Error{}
	}
	args := []any{
		r.id, r.createdBy.String(), r.requestKey, r.name, r.handle.String(), r.did.String(), r.pds, r.email, string(r.state), r.status,
		r.needsRepair, r.record, r.recordCID.String(), r.recordRev.String(), r.recoveryDID, store.Micros(r.accessExpires), r.version,
		store.Micros(r.renewedAt), store.Micros(r.sentAt), int64(failed.Kind), failed.Code, failed.Public, r.problem,
		store.Micros(r.createdAt), store.Micros(r.updatedAt), store.Micros(r.checkedAt),
	}
	for _, column := range sealedColumns() {
		sealed := []byte{}
		if secret := r.secrets[column]; !secret.IsZero() {
			var err error
			if sealed, err = m.cfg.Ring.Seal([]byte(secret.Reveal()), place(column, r.id)); err != nil {
				return nil, err
			}
		}
		args = append(args, sealed)
	}
	return args, nil
}

// put writes a row, new or in place of the one that is there.
func (m *Manager) put(ctx context.Context, tx *store.Tx, r *row) error {
	r.updatedAt = m.cfg.Now()
	args, err := m.values(r)
	if err != nil {
		return fmt.Errorf("save hosted account %s: %w", r.id, err)
	}
	names := strings.Split(strings.Join(strings.Fields(columns), ""), ",")
	var set, params []string
	for i, name := range names {
		params = append(params, fmt.Sprintf("$%d", i+1))
		if name != "id" {
			set = append(set, name+" = excluded."+name)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO hosted_account (`+columns+`, lease_owner, lease_until)
		VALUES (`+strings.Join(params, ", ")+`, '', 0) ON CONFLICT (id) DO UPDATE SET `+strings.Join(set, ", "), args...)
	if err != nil {
		return fmt.Errorf("save hosted account %s: %w", r.id, err)
	}
	return nil
}

// problemText is err as the operator sees it: whole, but for what cannot be stored.
func problemText(err error) string {
	text := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\x00", "?")
	if len(text) > 2000 {
		text = strings.ToValidUTF8(text[:2000], "") + " …"
	}
	return text
}

// hosted is what the caller of Provision gets.
func (r *row) hosted() Hosted {
	uri := syntax.ATURI("at://" + r.did.String() + "/" + Profile.String() + "/self")
	return Hosted{DID: r.did, Handle: r.handle, URI: uri, CID: r.recordCID, Rev: r.recordRev}
}
