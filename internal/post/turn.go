package post

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// turnLife is how long a turn lasts without being prolonged: longer than one
	// write takes, from agent.
	turnLife = time.Minute
	// turnPatience is how long to wait for one's turn.
	turnPatience = 20 * time.Second
	// turnPause is between two looks.
	turnPause = 25 * time.Millisecond
)

// turn is the right to vote on something as somebody, which one request at a
// time has, over all processes: what a vote does depends on what is there.
type turn struct {
	s       *Service
	did     syntax.DID
	subject []byte
	owner   string
}

// turn waits for its turn. Errors: Unavailable, when others take too long.
func (s *Service) turn(ctx context.Context, did syntax.DID, subject syntax.ATURI) (*turn, error) {
	sum := sha256.Sum256([]byte(subject))
	t := &turn{s: s, did: did, subject: sum[:], owner: rand.Text()}
	ctx, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	for {
		mine, err := t.take(ctx)
		if mine {
			return t, nil
		}
		pause := time.NewTimer(turnPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, fault.Wrap(fault.Unavailable, err, "Another vote of yours is on its way. Please try again in a moment.")
		case <-pause.C:
		}
		if err != nil {
			return nil, fmt.Errorf("take turn of %s: %w", did, err)
		}
	}
}

// take reports whether the turn is ours. One that was not prolonged is over:
// whoever had it is gone.
func (t *turn) take(ctx context.Context) (mine bool, err error) {
	now := t.s.cfg.Now()
	err = t.s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO vote_turn (did, subject_hash, owner, ends_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (did, subject_hash) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
			WHERE vote_turn.ends_at < $5 OR vote_turn.owner = excluded.owner`,
			t.did, t.subject, t.owner, store.Micros(now.Add(turnLife)), store.Micros(now))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		mine = n == 1
		return err
	})
	return mine && err == nil, err
}

// prolong is called before each write. Errors: Unavailable, when somebody else
// has taken over.
func (t *turn) prolong(ctx context.Context) error {
	mine, err := t.take(ctx)
	if err == nil && !mine {
		err = fault.New(fault.Unavailable, "This took too long. Look whether your vote is there, and then try again.")
	}
	return err
}

// end gives the turn back. Should that fail, it ends by itself.
func (t *turn) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	_ = t.s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM vote_turn WHERE did = $1 AND subject_hash = $2 AND owner = $3`, t.did, t.subject, t.owner)
		return err
	})
}
