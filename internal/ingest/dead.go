package ingest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
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
	CID        string           `json:"cid,omitempty"`    // whatever the stream said
	Record     json.RawMessage  `json:"record,omitempty"` // JSON of the data model
	Malformed  index.Reason     `json:"malformed,omitempty"`
}

// bury keeps a unit that the database refused, with the reason.
func (s *source) bury(ctx context.Context, u unit, reason error) error {
	payload, err := encodeLetter(u)
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

func encodeLetter(u unit) ([]byte, error) {
	letter := deadLetter{DID: u.did, Rev: u.rev, Account: u.account}
	for _, op := range u.ops {
		d := deadOp{Action: op.Action, Collection: op.Collection, RKey: op.RKey, CID: op.CID.String(), Malformed: op.Malformed}
		if op.Plain != nil {
			d.Record = op.Plain.JSON
		}
		if op.Record != nil {
			raw, err := json.Marshal(op.Record)
			if err != nil {
				return nil, err
			}
			d.Record = raw
		}
		letter.Ops = append(letter.Ops, d)
	}
	return json.Marshal(letter)
}

// decodeLetter reads what encodeLetter wrote.
func decodeLetter(payload []byte) (unit, error) {
	var letter deadLetter
	if err := json.Unmarshal(payload, &letter); err != nil {
		return unit{}, fmt.Errorf("decode dead letter: %w", err)
	}
	u := unit{did: letter.DID, rev: letter.Rev, account: letter.Account}
	for _, d := range letter.Ops {
		op := index.Op{Action: d.Action, Collection: d.Collection, RKey: d.RKey, CID: syntax.CID(d.CID), Malformed: d.Malformed}
		if len(d.Record) > 0 {
			record, err := atdata.UnmarshalJSON(d.Record)
			if err != nil {
				return unit{}, fmt.Errorf("decode dead letter: %w", err)
			}
			op.Record = record
		}
		u.ops = append(u.ops, op)
	}
	return u, nil
}

// storable makes any text fit for a column.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// Letter is an event whose data the database refused.
type Letter struct {
	ID               int64
	Source           string
	DID              syntax.DID
	Collection, RKey string // empty for account events
	Error            string
	FailedAt         time.Time
	Attempts         int64
}

// Dead lists dead letters, the oldest first.
func (in *Ingester) Dead(ctx context.Context, limit int) ([]Letter, error) {
	rows, err := in.cfg.DB.Read().QueryContext(ctx, `
		SELECT id, source, did, collection, rkey, error, failed_at, attempts
		FROM ingest_dead ORDER BY failed_at, id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	var out []Letter
	for rows.Next() {
		var l Letter
		var at int64
		if err := rows.Scan(&l.ID, &l.Source, &l.DID, &l.Collection, &l.RKey, &l.Error, &at, &l.Attempts); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		l.FailedAt = store.FromMicros(at)
		out = append(out, l)
	}
	return out, rows.Err()
}

// Retried says what became of a dead letter.
type Retried string

// What Retry answers.
const (
	RetryApplied    Retried = "applied"
	RetrySuperseded Retried = "superseded" // the repository was fetched whole since, or will be
	RetryRefused    Retried = "refused"    // again, and kept
	RetryAbsent     Retried = "absent"     // there is no such letter (any more)
)

// Retry drives one dead letter again and removes it when that works.
func (in *Ingester) Retry(ctx context.Context, id int64) (result Retried, err error) {
	err = in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		result, err = in.retry(ctx, tx, id)
		return err
	})
	if !store.IsBadData(err) {
		return result, err
	}
	reason := storable(err.Error())
	err = in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ingest_dead SET attempts = attempts + 1, error = $1 WHERE id = $2`, reason, id)
		return err
	})
	return RetryRefused, err
}

func (in *Ingester) retry(ctx context.Context, tx *store.Tx, id int64) (Retried, error) {
	var payload []byte
	err := tx.QueryRowContext(ctx, `DELETE FROM ingest_dead WHERE id = $1 RETURNING payload`, id).Scan(&payload)
	if errors.Is(err, sql.ErrNoRows) {
		return RetryAbsent, nil
	}
	if err != nil {
		return "", fmt.Errorf("take dead letter %d: %w", id, err)
	}
	u, err := decodeLetter(payload)
	if err != nil {
		return "", err
	}
	repos, err := in.loadRepos(ctx, []syntax.DID{u.did})
	if err != nil {
		return "", err
	}
	switch r, rev := repos[u.did], int64(u.rev.Integer()); {
	case len(u.ops) == 0:
	case rev <= r.base:
		return RetrySuperseded, nil
	case rev <= r.pruned: // what became of the record since is forgotten
		return RetrySuperseded, in.want(ctx, tx, u.did, true)
	}
	commit, _ := in.cfg.Index.Prepare(u.did, u.rev, u.ops)
	u.commit = commit
	_, err = in.fetch.sink.write(ctx, tx, []unit{u}, in.plan([]unit{u}), nil)
	return RetryApplied, err
}
