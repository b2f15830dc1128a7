package aggregator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

// MayPost lets an aggregator post to a community once, by its key: at most
// PostsPerHour times within any hour, through whichever process. A call that is
// repeated under its idempotency key, which may be empty, counts once. Errors for
// people: Forbidden with NotAuthorized, Limited with RateLimitExceeded and when to
// come back.
func (s *Service) MayPost(ctx context.Context, did, community syntax.DID, idempotency string) error {
	allowed, err := s.cfg.Index.Authorized(ctx, community, did)
	if err != nil {
		return fmt.Errorf("ask whether %s may post to %s: %w", did, community, err)
	}
	if !allowed {
		return fault.New(fault.Forbidden, "This community has not authorized this service to post. Its moderators can.").WithCode("NotAuthorized")
	}
	var now, full time.Time
	err = s.cfg.DB.Tx(ctx, func(tx *store.Tx) (err error) {
		// Who counts holds the aggregator's row until the post is noted.
		if _, err := tx.ExecContext(ctx, `UPDATE aggregator SET created_at = created_at WHERE did = $1`, did); err != nil {
			return err
		}
		now = s.cfg.Now() // after those who came first
		var repeated bool
		id := noteID(did, community, idempotency)
		err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM aggregator_post WHERE id = $1)`, id).Scan(&repeated)
		if err != nil || repeated {
			return err
		}
		if full, err = s.full(ctx, tx, did, community, now); err != nil || !full.IsZero() {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO aggregator_post (id, did, community, posted_at) VALUES ($1, $2, $3, $4)`,
			id, did, community, store.Micros(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("count posts of %s to %s: %w", did, community, err)
	}
	if !full.IsZero() {
		return fault.New(fault.Limited, fmt.Sprintf("This service has posted to this community %d times within an hour, which is what this server allows. Please try again later.", s.cfg.PostsPerHour)).
			WithCode("RateLimitExceeded").After(min(max(full.Sub(now), time.Second), time.Hour)) // clocks of processes differ
	}
	return nil
}

// noteID is the same for calls that are the same.
func noteID(did, community syntax.DID, idempotency string) string {
	if idempotency == "" {
		return rand.Text()
	}
	sum := sha256.Sum256([]byte(did.String() + " " + community.String() + " " + idempotency)) // no DID has a space
	return hex.EncodeToString(sum[:])
}

// full is until when nothing more may be posted; zero when something may.
func (s *Service) full(ctx context.Context, tx *store.Tx, did, community syntax.DID, now time.Time) (time.Time, error) {
	var at int64
	err := tx.QueryRowContext(ctx, `SELECT posted_at FROM aggregator_post WHERE did = $1 AND community = $2 AND posted_at > $3
		ORDER BY posted_at DESC LIMIT 1 OFFSET $4`, did, community, store.Micros(now.Add(-time.Hour)), s.cfg.PostsPerHour-1).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return store.FromMicros(at).Add(time.Hour), err
}

// Sweep removes the notes of posts that do not count any more, and returns how
// many there were.
func Sweep(ctx context.Context, db *store.DB, now time.Time) (n int, err error) {
	err = db.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM aggregator_post WHERE posted_at <= $1`, store.Micros(now.Add(-time.Hour)))
		if err != nil {
			return err
		}
		gone, err := res.RowsAffected()
		n = int(gone)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("remove notes of aggregators' posts: %w", err)
	}
	return n, nil
}
