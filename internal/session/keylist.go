package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// KeyState says what a client key is used for.
type KeyState string

// The states. All but withdrawn ones are published.
const (
	KeySigning   KeyState = "signing"   // signs for new sessions, and for those pinned to it
	KeyWaiting   KeyState = "waiting"   // published only; signs from SignsFrom, or never while that is zero
	KeyPinned    KeyState = "pinned"    // signs for the sessions that began with it
	KeyWithdrawn KeyState = "withdrawn" // not published any more
)

// KeyInfo describes a client key without its secret.
type KeyInfo struct {
	ID        string // the kid
	State     KeyState
	CreatedAt time.Time
	SignsFrom time.Time // zero: not decided
	// Sessions is how many live sessions are pinned to the key. Withdrawing it
	// would end them.
	Sessions int
}

// List returns all keys in the order in which they are published, withdrawn
// ones last.
func (k *Keys) List(ctx context.Context) ([]KeyInfo, error) {
	rows, err := k.rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("list client keys: %w", err)
	}
	counts, err := k.sessions(ctx)
	if err != nil {
		return nil, fmt.Errorf("count sessions of client keys: %w", err)
	}
	all := make([]KeyInfo, len(rows))
	for i, r := range rows {
		all[i] = r.info
		all[i].Sessions = counts[r.info.ID]
	}
	return all, nil
}

// sessions counts the live sessions of each key.
func (k *Keys) sessions(ctx context.Context) (map[string]int, error) {
	rows, err := k.db.Read().QueryContext(ctx, `SELECT key_id, count(*) FROM oauth_session WHERE state = 'live' GROUP BY key_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		counts[id] = n
	}
	return counts, rows.Err()
}

// keyRow is a row of signing_key.
type keyRow struct {
	info   KeyInfo
	seq    int64
	sealed []byte
}

// rows reads all keys, states decided, in their order.
func (k *Keys) rows(ctx context.Context) ([]keyRow, error) {
	rows, err := k.db.Read().QueryContext(ctx, `
SELECT kid, seq, private_key, created_at, signs_from, withdrawn_at
FROM signing_key WHERE purpose = $1`, purposeClient)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []keyRow
	for rows.Next() {
		var r keyRow
		var created, from, withdrawn int64
		if err := rows.Scan(&r.info.ID, &r.seq, &r.sealed, &created, &from, &withdrawn); err != nil {
			return nil, err
		}
		r.info.CreatedAt, r.info.SignsFrom = store.FromMicros(created), store.FromMicros(from)
		r.info.State = KeyWaiting
		if withdrawn != 0 {
			r.info.State = KeyWithdrawn
		}
		all = append(all, r)
	}
	decide(all, k.now())
	return all, rows.Err()
}

// decide orders the keys and finds the one that signs: of those whose time has
// come, the one whose time came last.
func decide(all []keyRow, now time.Time) {
	slices.SortFunc(all, func(a, b keyRow) int {
		return cmp.Or(
			cmp.Compare(rank(a, now), rank(b, now)),
			b.info.SignsFrom.Compare(a.info.SignsFrom),
			cmp.Compare(b.seq, a.seq))
	})
	for i := range all {
		if rank(all[i], now) != 0 {
			break
		}
		all[i].info.State = KeyPinned
		if i == 0 {
			all[i].info.State = KeySigning
		}
	}
}

// rank is 0 for keys that sign, 1 for those that wait, 2 for withdrawn ones.
func rank(r keyRow, now time.Time) int {
	switch {
	case r.info.State == KeyWithdrawn:
		return 2
	case r.info.SignsFrom.IsZero() || r.info.SignsFrom.After(now):
		return 1
	}
	return 0
}

// load fills the set with the published keys, if they have changed.
func (k *Keys) load(ctx context.Context) error {
	rows, err := k.rows(ctx)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r keyRow) bool { return r.info.State == KeyWithdrawn })
	if len(rows) == 0 || rows[0].info.State != KeySigning {
		return ErrNoUsableKey
	}
	if slices.EqualFunc(rows, k.set.IDs(), func(r keyRow, id string) bool { return r.info.ID == id }) {
		return nil
	}
	keys := make([]*client.SigningKey, len(rows))
	for i, r := range rows {
		if keys[i], err = k.open(r); err != nil {
			return fmt.Errorf("client key %s: %w", r.info.ID, err)
		}
	}
	return k.set.Replace(keys...)
}

func (k *Keys) open(r keyRow) (*client.SigningKey, error) {
	jwk, err := k.ring.Open(r.sealed, keyPlace(r.info.ID))
	if err != nil {
		return nil, err
	}
	key, err := client.ParseSigningKey(jwk)
	if err != nil {
		return nil, err
	}
	if key.ID() != r.info.ID {
		return nil, fmt.Errorf("its kid is %s", key.ID())
	}
	return key, nil
}
