package post

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// choice is what a request to vote has come to: it is decided once, so that the
// same request does the same when it comes again.
type choice struct {
	withdraws bool
	// done tells that result is what came of it.
	done   bool
	result Created
}

// choose notes what a request with a key is to do, or finds what was noted when
// it came first.
func (s *Service) choose(ctx context.Context, b ballot, withdraws bool) (choice, error) {
	c := choice{withdraws: withdraws}
	if b.in.Key == "" {
		return c, nil
	}
	var cid sql.NullString
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		now := s.cfg.Now()
		ended := store.Micros(now.Add(-agent.KeyLife))
		for _, query := range []string{`DELETE FROM vote_request WHERE created_at < $1`, `DELETE FROM vote_turn WHERE ends_at < $1`} {
			if _, err := tx.ExecContext(ctx, query, ended); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO vote_request (did, rkey, withdraws, done, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (did, rkey) DO NOTHING`, b.actor.DID, b.tid, withdraws, false, store.Micros(now))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT withdraws, done, cid FROM vote_request WHERE did = $1 AND rkey = $2`,
			b.actor.DID, b.tid).Scan(&c.withdraws, &c.done, &cid)
	})
	if err != nil {
		return choice{}, fmt.Errorf("decide on the vote %s of %s: %w", b.tid, b.actor.DID, err)
	}
	if c.done && !c.withdraws {
		c.result = Created{URI: recordAt(b.actor.DID, index.VoteCollection, syntax.RecordKey(b.tid)), CID: syntax.CID(cid.String)}
	}
	return c, nil
}

// chosen notes what came of a request with a key.
func (s *Service) chosen(ctx context.Context, b ballot, result Created) error {
	if b.in.Key == "" {
		return nil
	}
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE vote_request SET done = $1, cid = CAST($2 AS TEXT) WHERE did = $3 AND rkey = $4`,
			true, sql.NullString{String: result.CID.String(), Valid: result.CID != ""}, b.actor.DID, b.tid)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the vote %s of %s: %w", b.tid, b.actor.DID, err)
	}
	return nil
}
