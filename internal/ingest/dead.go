package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// deadLetter is an event as it is kept when the database refuses its data:
// everything that is needed to try again.
type deadLetter struct {
	DID     syntax.DID          `json:"did"`
	Rev     syntax.TID          `json:"rev,omitempty"`
	Ops     []deadOp            `json:"ops,omitempty"`
	Account *index.AccountEvent `json:"account,omitempty"`
}

type deadOp struct {
	Action     index.Action     `json:"action"`
	Collection syntax.NSID      `json:"collection"`
	RKey       syntax.RecordKey `json:"rkey"`
	CID        syntax.CID       `json:"cid,omitempty"`
	Record     map[string]any   `json:"record,omitempty"`
	Malformed  index.Reason     `json:"malformed,omitempty"`
}

// bury keeps a unit that the database refused, with the reason.
func (s *source) bury(ctx context.Context, u unit, reason error) error {
	letter := deadLetter{DID: u.did, Rev: u.rev, Account: u.account}
	for _, op := range u.ops {
		letter.Ops = append(letter.Ops, deadOp(op))
	}
	payload, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	var collection, key string
	if len(u.ops) > 0 {
		collection, key = u.ops[0].Collection.String(), u.ops[0].RKey.String()
	}
	s.in.metrics.dead.WithLabelValues(s.label).Inc()
	s.log.ErrorContext(ctx, "database refuses an event, kept as a dead letter",
		"seq", u.seq, "repo", u.did, "collection", collection, "key", key, "error", reason)
	id := rand.Int64()
	return s.insist(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO ingest_dead (id, source, seq, did, collection, rkey, rev, error, payload, failed_at, attempts)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)
			ON CONFLICT (id) DO NOTHING`,
			id, s.url, u.seq, u.did, collection, key, u.rev, storable(reason.Error()), payload,
			store.Micros(s.in.cfg.Now()))
		return err
	})
}

// storable makes any text fit for a column.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}
