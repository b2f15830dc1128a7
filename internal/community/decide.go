package community

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// Reason is why a post waits.
type Reason string

// The reasons.
const (
	NeedsApproval   Reason = "approval" // of the post, or of its author
	NeedsMembership Reason = "member"   // the author is to subscribe
	EditNeedsReview Reason = "edit"     // it was accepted in another version
)

// outcome is what is to become of a post.
type outcome struct {
	verdict verdict
	why     Reason     // of wait
	code    string     // of remove
	reason  string     // of remove
	of      syntax.CID // the version that a moderator looked at
	at      int64      // which moderator's word it is, 0 for the policy's
}

type verdict string

const (
	wait   verdict = "wait"
	accept verdict = "accept"
	remove verdict = "remove"
)

// maxLooks bounds how often one job follows a post that changes meanwhile.
const maxLooks = 5

// pause is how long a community's server that is away, or does not say how long
// it wants to be left alone, is.
const pause = 30 * time.Second

func (s *Service) decideJob(ctx context.Context, j job.Job) error {
	var d deciding
	if err := j.Decode(&d); err != nil {
		return err
	}
	for range maxLooks {
		again, err := s.decide(ctx, d, j.CreatedAt)
		if err != nil {
			return s.parked(err)
		}
		if !again {
			return nil
		}
	}
	return fmt.Errorf("the post %s of %s changes faster than it is decided about", d.RKey, d.Author)
}

// parked makes of an error what the queue understands.
func (s *Service) parked(err error) error {
	var e *agent.Error
	var credentials *account.Error
	switch {
	case errors.As(err, &e) && e.Kind == agent.RateLimited && e.Until.After(s.cfg.Now()):
		return job.Park(e.Until, err)
	case e != nil && (e.Kind == agent.RateLimited || e.Kind == agent.Unreachable):
		return job.Park(s.cfg.Now().Add(pause), err)
	case e == nil && errors.As(err, &credentials):
		return job.Park(s.cfg.Now().Add(sweepEvery), err) // the operator hears of it from account
	}
	return err
}

// decide looks at a post and does what is to be done. Everything may be
// repeated: the records are the same ones, with the same times. again tells that
// the post has changed meanwhile.
func (s *Service) decide(ctx context.Context, d deciding, at time.Time) (again bool, err error) {
	// First what was said, then the post: so the post is not older than the
	// version that a moderator has looked at.
	said, err := s.said(ctx, d)
	if err != nil {
		return false, err
	}
	post, ok, err := s.cfg.Index.Standing(ctx, pds.Place{Repo: d.Author, Collection: index.PostCollection, RKey: d.RKey}.URI())
	if err != nil {
		return false, fmt.Errorf("read the post: %w", err)
	}
	if !ok || post.Community != d.Community {
		return false, s.settled(ctx, d, said.at) // gone, or gone elsewhere
	}
	hosts, err := s.hosts(ctx, d.Community)
	if err != nil || !hosts || !post.CommunityActive {
		return false, err // when it is active again, the sweep finds the post
	}
	what, err := s.judge(ctx, d, post, said)
	if err != nil {
		return false, err
	}
	switch {
	case what.verdict == "":
		return false, s.settled(ctx, d, said.at)
	case what.verdict == wait:
		if err := s.await(ctx, d, post, what.why, said.at); err != nil {
			return false, err
		}
		// Who changes what this follows from looks for posts that wait. What was
		// changed before this one was among them is seen here.
		now, err := s.judge(ctx, d, post, outcome{})
		return now.verdict != wait, err
	case what.verdict == accept && post.State == index.Accepted, what.verdict == remove && post.State == index.Removed:
		return false, s.settled(ctx, d, said.at)
	}
	if err := s.carryOut(ctx, post, what, at); err != nil {
		return false, err
	}
	return true, nil
}

// judge is what is to become of a post: what a moderator has said, or else what
// follows from bans and policy. To accept is said of one version; to remove, of
// the post. No verdict means that there is nothing to do.
func (s *Service) judge(ctx context.Context, d deciding, post index.Standing, said outcome) (outcome, error) {
	if said.verdict == remove || said.verdict == accept && said.of == post.CID {
		return said, nil
	}
	if !post.AuthorActive || post.State != index.Pending && post.State != index.PendingReacceptance {
		return outcome{}, nil
	}
	banned, err := s.cfg.Index.Banned(ctx, d.Community, d.Author)
	if err != nil {
		return outcome{}, fmt.Errorf("look for bans: %w", err)
	}
	if banned {
		return outcome{verdict: remove, code: "author-banned"}, nil
	}
	may, err := s.May(ctx, d.Author, d.Community, Posts)
	if err != nil {
		return outcome{}, err
	}
	if may || d.Author == d.Community {
		return outcome{verdict: accept}, nil
	}
	return s.byPolicy(ctx, d, post)
}

func (s *Service) byPolicy(ctx context.Context, d deciding, post index.Standing) (outcome, error) {
	policy, err := s.Policy(ctx, d.Community)
	if err != nil {
		return outcome{}, err
	}
	if post.State == index.PendingReacceptance && policy.ReviewEdits {
		return outcome{verdict: wait, why: EditNeedsReview}, nil
	}
	if post.State == index.PendingReacceptance {
		return outcome{verdict: accept}, nil // it was let in, and edits are free
	}
	ok, why, err := s.known(ctx, d, policy.Admission)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("who is %s to %s: %w", d.Author, d.Community, err)
	case !ok:
		return outcome{verdict: wait, why: why}, nil
	}
	return outcome{verdict: accept}, nil
}

// known tells whether a community takes what an author posts for the first time,
// or what it waits for. A service that the community has authorized needs to be
// neither a member nor approved (A11).
func (s *Service) known(ctx context.Context, d deciding, a Admission) (ok bool, why Reason, err error) {
	if a == Open {
		return true, "", nil
	}
	if ok, err = s.cfg.Index.Authorized(ctx, d.Community, d.Author); ok || err != nil {
		return ok, "", err
	}
	if a == Members {
		ok, err = s.cfg.Index.Subscribes(ctx, d.Author, d.Community)
		return ok, NeedsMembership, err
	}
	ok, err = s.approved(ctx, d.Community, d.Author)
	return ok, NeedsApproval, err
}

// carryOut writes an outcome into the community's repository. An acceptance
// pins the version that was looked at.
func (s *Service) carryOut(ctx context.Context, post index.Standing, what outcome, at time.Time) error {
	actor := agent.Actor{DID: post.Community, Queued: true}
	key := index.AdmissionKey(post.URI())
	record := map[string]any{
		"subject":   map[string]any{"uri": post.URI().String(), "cid": post.CID.String()},
		"createdAt": datetime(at),
	}
	into, from := index.AcceptanceCollection, index.RemovalCollection
	undo := post.Removal != nil
	if what.verdict == remove {
		into, from, undo = from, into, post.Accepted != ""
		record["code"] = what.code
		if what.reason != "" {
			record["reason"] = what.reason
		}
	}
	record["$type"] = into.String()
	if _, err := s.cfg.Records.Put(ctx, actor, agent.Put{Write: agent.Write{Collection: into, RKey: key, Record: record}}); err != nil {
		return err
	}
	if !undo {
		return nil
	}
	return s.cfg.Records.Delete(ctx, actor, agent.Delete{Collection: from, RKey: key})
}

// said is what a moderator has decided about a post; empty when nobody has.
func (s *Service) said(ctx context.Context, d deciding) (outcome, error) {
	var o outcome
	var code, reason sql.NullString
	err := s.cfg.DB.Read().QueryRowContext(ctx, `
		SELECT verdict, verdict_at, cid, code, reason FROM community_review
		WHERE community = $1 AND author = $2 AND rkey = $3 AND verdict IS NOT NULL`, d.Community, d.Author, d.RKey).
		Scan(&o.verdict, &o.at, &o.of, &code, &reason)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return outcome{}, fmt.Errorf("read what moderators said: %w", err)
	}
	o.code, o.reason = code.String, reason.String
	return o, nil
}

// settled forgets that a post waits, and what a moderator said at a time, but
// nothing that was said later.
func (s *Service) settled(ctx context.Context, d deciding, at int64) error {
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM community_review WHERE community = $1 AND author = $2 AND rkey = $3
			  AND (verdict IS NULL OR verdict_at = $4)`, d.Community, d.Author, d.RKey, at)
		return err
	})
}

// await notes that a post waits, and for what; what a moderator said at a time,
// about another version, is over. Whether the author is a member by now is
// looked at again, less and less often.
func (s *Service) await(ctx context.Context, d deciding, post index.Standing, why Reason, at int64) error {
	now := s.cfg.Now()
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		var since int64
		err := tx.QueryRowContext(ctx, `
			INSERT INTO community_review (community, author, rkey, cid, why, since) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (community, author, rkey) DO UPDATE SET cid = excluded.cid, why = excluded.why,
			    due = NULL, verdict = NULL, verdict_by = NULL, verdict_at = NULL, code = NULL, reason = NULL
			    WHERE community_review.verdict IS NULL OR community_review.verdict_at = $7
			RETURNING since`, d.Community, d.Author, d.RKey, post.CID, string(why), store.Micros(now), at).Scan(&since)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // somebody has spoken meanwhile, and has asked to look again
		}
		if err != nil {
			return fmt.Errorf("note that a post waits: %w", err)
		}
		age := now.Sub(store.FromMicros(since))
		if why != NeedsMembership || age > recheckFor {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE community_review SET due = $1 WHERE community = $2 AND author = $3 AND rkey = $4`,
			store.Micros(now.Add(max(sweepEvery, age/4))), d.Community, d.Author, d.RKey)
		return err
	})
}
