package community

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// Waiting is a post that waits for a moderator, or for its author to subscribe.
type Waiting struct {
	Post  syntax.ATURI
	CID   syntax.CID // the version that waits
	Why   Reason
	Since time.Time
}

// WaitingPosts lists what waits in a community, the longest first, limit of them
// at most. Errors: those of SetPolicy.
func (s *Service) WaitingPosts(ctx context.Context, actor agent.Actor, text string, limit int) ([]Waiting, error) {
	community, err := s.governed(ctx, actor.DID, text, Posts)
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.DB.Read().QueryContext(ctx, `
		SELECT author, rkey, cid, why, since FROM community_review
		WHERE community = $1 AND verdict IS NULL ORDER BY since, author, rkey LIMIT $2`, community, limit)
	if err != nil {
		return nil, fmt.Errorf("list what waits in %s: %w", community, err)
	}
	var out []Waiting
	err = each(rows, func() error {
		var w Waiting
		var since int64
		at := pds.Place{Collection: index.PostCollection}
		err := rows.Scan(&at.Repo, &at.RKey, &w.CID, &w.Why, &since)
		w.Post, w.Since = at.URI(), store.FromMicros(since)
		out = append(out, w)
		return err
	})
	return out, err
}

// Approve has a post accepted in the version that the moderator has seen. With
// always, its author's posts need no approval from now on. It is done soon, and
// certainly, when Approve returns. Errors: NotFound (PostNotFound), Conflict
// when the post has changed, Forbidden (NotAuthorized).
func (s *Service) Approve(ctx context.Context, actor agent.Actor, post syntax.ATURI, seen syntax.CID, always bool) error {
	standing, err := s.reviewed(ctx, actor, post)
	if err != nil {
		return err
	}
	if standing.CID != seen {
		return fault.New(fault.Conflict, "The post has changed since you looked at it. Look at it again.").WithCode("Conflict")
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		if err := s.say(ctx, tx, actor.DID, standing, outcome{verdict: accept}); err != nil || !always {
			return err
		}
		if err := s.approve(ctx, tx, standing.Community, standing.Author, actor.DID); err != nil {
			return err
		}
		return s.lookSoon(ctx, tx, standing.Community, standing.Author)
	})
}

// Limits of removals (social.coves.community.removal).
const (
	maxCode                     = 64
	reasonGraphemes, reasonSize = 1_000, 10_000
)

// Reject has a post removed, in whatever version. The code is one of the
// lexicon's or another word; both are public. Errors: NotFound (PostNotFound),
// Invalid, Forbidden (NotAuthorized).
func (s *Service) Reject(ctx context.Context, actor agent.Actor, post syntax.ATURI, code, reason string) error {
	if code == "" || len(code) > maxCode {
		return invalid(nil, "Say why with one word of the list, such as off-topic.")
	}
	if len(reason) > reasonSize || uniseg.GraphemeClusterCount(reason) > reasonGraphemes {
		return fault.New(fault.Invalid, "The reason is too long: at most 1,000 characters.").WithCode("ContentTooLong")
	}
	standing, err := s.reviewed(ctx, actor, post)
	if err != nil {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		return s.say(ctx, tx, actor.DID, standing, outcome{verdict: remove, code: code, reason: reason})
	})
}

// reviewed finds a post that actor may decide about.
func (s *Service) reviewed(ctx context.Context, actor agent.Actor, post syntax.ATURI) (index.Standing, error) {
	standing, ok, err := s.cfg.Index.Standing(ctx, post)
	if err != nil {
		return index.Standing{}, fmt.Errorf("read %s: %w", post, err)
	}
	if !ok {
		return index.Standing{}, postNotFound()
	}
	return standing, s.govern(ctx, actor.DID, standing.Community, Posts)
}

func postNotFound() error {
	return fault.New(fault.NotFound, "There is no such post.").WithCode("PostNotFound")
}

// say notes a moderator's decision, and has it carried out.
func (s *Service) say(ctx context.Context, tx *store.Tx, by syntax.DID, post index.Standing, what outcome) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO community_review (community, author, rkey, cid, why, since, verdict, verdict_by, verdict_at, code, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6, $9, $10)
		ON CONFLICT (community, author, rkey) DO UPDATE SET cid = excluded.cid, due = NULL,
		    verdict = excluded.verdict, verdict_by = excluded.verdict_by, code = excluded.code, reason = excluded.reason,
		    verdict_at = CASE WHEN community_review.verdict_at >= excluded.verdict_at THEN community_review.verdict_at + 1 ELSE excluded.verdict_at END`,
		post.Community, post.Author, post.RKey, post.CID, string(NeedsApproval), store.Micros(s.cfg.Now()),
		string(what.verdict), by, what.code, what.reason)
	if err != nil {
		return fmt.Errorf("note a decision about %s: %w", post.URI(), err)
	}
	return s.decideSoon(ctx, tx, deciding{post.Community, post.Author, post.RKey}, job.High)
}

// Status is how a post stands, for everybody to see.
type Status struct {
	State index.State
	// Acceptance names the record that admits the post, empty without one.
	Acceptance syntax.ATURI
	// Removal is nil without one.
	Removal *index.Removal
	// Policy is how the community decides, nil when another server does.
	Policy *Policy
}

// PostStatus tells how a post stands in its community. Errors: NotFound
// (PostNotFound).
func (s *Service) PostStatus(ctx context.Context, post syntax.ATURI) (Status, error) {
	standing, ok, err := s.cfg.Index.Standing(ctx, post)
	if err != nil {
		return Status{}, fmt.Errorf("read %s: %w", post, err)
	}
	if !ok || !standing.AuthorActive || !standing.Shown {
		return Status{}, postNotFound()
	}
	out := Status{State: standing.State, Removal: standing.Removal}
	if standing.Accepted != "" {
		out.Acceptance = standing.Decision(index.AcceptanceCollection)
	}
	if standing.State != index.Removed {
		out.Removal = nil // overruled
	}
	hosts, err := s.hosts(ctx, standing.Community)
	if err != nil || !hosts {
		return out, err
	}
	policy, err := s.Policy(ctx, standing.Community)
	out.Policy = &policy
	return out, err
}

// creator is who made a community, as its record says.
func creator(record json.RawMessage) syntax.DID {
	var profile struct {
		CreatedBy syntax.DID `json:"createdBy"`
	}
	if json.Unmarshal(record, &profile) != nil {
		return ""
	}
	return profile.CreatedBy
}
