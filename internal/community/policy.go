package community

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/store"
)

// Admission says whose posts a community takes.
type Admission string

// The admissions. Whoever is banned is never admitted; who looks after the
// community always is, and so are services that it has authorized.
const (
	Open     Admission = "open"     // everybody's
	Members  Admission = "members"  // those of its subscribers; others' wait until they subscribe
	Approval Admission = "approval" // those of people whom a moderator has approved; others' wait
)

// Policy is how a community that this instance hosts decides about posts. It is
// private to the instance; what follows from it is public.
type Policy struct {
	Admission Admission
	// ReviewEdits has a moderator look at posts that change after they were
	// accepted.
	ReviewEdits bool
}

// Explain says to people what the policy means for them, in whole sentences.
func (p Policy) Explain() string {
	text := map[Admission]string{
		Open:     "Everybody may post here.",
		Members:  "Only members may post here. Posts of others appear once they subscribe.",
		Approval: "Posts here appear when a moderator has approved them, or their author.",
	}[p.Admission]
	if p.ReviewEdits {
		return text + " A post that is changed later has to be approved again."
	}
	return text
}

// Policy returns the policy of a community: open unless it was set.
func (s *Service) Policy(ctx context.Context, community syntax.DID) (Policy, error) {
	p := Policy{Admission: Open}
	err := s.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT admission, review_edits FROM community_policy WHERE community = $1`, community).Scan(&p.Admission, &p.ReviewEdits)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Policy{}, fmt.Errorf("read policy of %s: %w", community, err)
	}
	return p, nil
}

// SetPolicy changes how a community decides, and has it look again at all that
// waits. Errors: those of Resolver.Find, Forbidden (NotAuthorized) for those who
// may not, or when another server hosts the community, and Invalid.
func (s *Service) SetPolicy(ctx context.Context, actor agent.Actor, text string, p Policy) error {
	if p.Admission != Open && p.Admission != Members && p.Admission != Approval {
		return invalid(nil, "The policy must be open, members or approval.")
	}
	community, err := s.governed(ctx, actor.DID, text, Settings)
	if err != nil {
		return err
	}
	now := store.Micros(s.cfg.Now())
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO community_policy (community, admission, review_edits, changed_by, changed_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (community) DO UPDATE SET admission = excluded.admission, review_edits = excluded.review_edits,
			    changed_by = excluded.changed_by, changed_at = excluded.changed_at`,
			community, string(p.Admission), p.ReviewEdits, actor.DID, now)
		if err != nil {
			return fmt.Errorf("set policy of %s: %w", community, err)
		}
		return s.sweepSoon(ctx, tx, community)
	})
}

// ApprovePerson lets somebody post in a community where posts need approval,
// and has it look again at what of theirs waits. Errors: those of SetPolicy,
// and of Resolver.Person.
func (s *Service) ApprovePerson(ctx context.Context, actor agent.Actor, text, person string) error {
	community, err := s.governed(ctx, actor.DID, text, Posts)
	if err != nil {
		return err
	}
	who, err := s.cfg.Names.Person(ctx, person)
	if err != nil {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		if err := s.approve(ctx, tx, community, who.DID, actor.DID); err != nil {
			return err
		}
		return s.lookSoon(ctx, tx, community, who.DID)
	})
}

func (s *Service) approve(ctx context.Context, tx *store.Tx, community, person, by syntax.DID) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO community_approved (community, person, approved_by, approved_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (community, person) DO NOTHING`, community, person, by, store.Micros(s.cfg.Now()))
	if err != nil {
		return fmt.Errorf("approve %s: %w", person, err)
	}
	return nil
}

// DisapprovePerson takes an approval back. What was accepted stays.
func (s *Service) DisapprovePerson(ctx context.Context, actor agent.Actor, text, person string) error {
	community, err := s.governed(ctx, actor.DID, text, Posts)
	if err != nil {
		return err
	}
	who, err := s.cfg.Names.gone(ctx, person, s.cfg.Names.Person)
	if err != nil {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM community_approved WHERE community = $1 AND person = $2`, community, who)
		return err
	})
}

func (s *Service) approved(ctx context.Context, community, person syntax.DID) (bool, error) {
	var n int
	err := s.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT count(*) FROM community_approved WHERE community = $1 AND person = $2`, community, person).Scan(&n)
	return n > 0, err
}

// reviewing is whose waiting posts are looked at again, and where.
type reviewing struct {
	Community syntax.DID `json:"community"`
	Person    syntax.DID `json:"person"`
}

// lookSoon is lookAgain once tx has committed. A decision that is being made
// beside tx either sees what tx has changed, or its post waits by then and is
// found: whoever looks within tx can miss it.
func (s *Service) lookSoon(ctx context.Context, tx *store.Tx, community, who syntax.DID) error {
	_, err := s.cfg.Jobs.Enqueue(ctx, tx, job.Insert{
		Kind: personJob, Args: reviewing{community, who}, Unique: community.String() + " " + who.String(), Priority: job.High,
	})
	return err
}

func (s *Service) personJob(ctx context.Context, j job.Job) error {
	var args reviewing
	if err := j.Decode(&args); err != nil {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return s.lookAgain(ctx, tx, args.Community, args.Person) })
}

// lookAgain has the waiting posts of a person in a community decided anew.
func (s *Service) lookAgain(ctx context.Context, tx *store.Tx, community, person syntax.DID) error {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := tx.QueryContext(ctx, `SELECT rkey FROM community_review WHERE community = $1 AND author = $2`, community, person)
	if err != nil {
		return fmt.Errorf("list what waits of %s: %w", person, err)
	}
	var keys []syntax.RecordKey
	if err := each(rows, func() error {
		var key syntax.RecordKey
		err := rows.Scan(&key)
		keys = append(keys, key)
		return err
	}); err != nil {
		return fmt.Errorf("list what waits of %s: %w", person, err)
	}
	for _, key := range keys {
		if err := s.decideSoon(ctx, tx, deciding{community, person, key}, job.High); err != nil {
			return err
		}
	}
	return nil
}

// each runs scan for every row and closes them.
func each(rows *sql.Rows, scan func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Duty is what somebody wants to do with a community.
type Duty uint8

// The duties.
const (
	Posts    Duty = iota + 1 // admit and remove posts, ban: any moderator
	Settings                 // profile and policy: moderators with the role admin
)

// May reports whether somebody looks after a community: its creator and the
// instance's admins for everything, moderators by their role.
func (s *Service) May(ctx context.Context, person, community syntax.DID, duty Duty) (bool, error) {
	if s.isAdmin(person) {
		return true, nil
	}
	c, ok, err := s.cfg.Index.Community(ctx, community)
	if err != nil || !ok {
		return false, err
	}
	if creator(c.Record) == person {
		return true, nil
	}
	moderators, err := s.cfg.Index.Moderators(ctx, community)
	if err != nil {
		return false, fmt.Errorf("list moderators of %s: %w", community, err)
	}
	for _, m := range moderators {
		if m.DID == person && (m.Role == "admin" || duty == Posts && m.Role == "moderator") {
			return true, nil
		}
	}
	return false, nil
}

// governed finds the community that text names, hosted here, where person may
// do duty.
func (s *Service) governed(ctx context.Context, person syntax.DID, text string, duty Duty) (syntax.DID, error) {
	community, err := s.cfg.Names.Resolve(ctx, text)
	if err != nil {
		return "", err
	}
	return community, s.govern(ctx, person, community, duty)
}

func (s *Service) govern(ctx context.Context, person, community syntax.DID, duty Duty) error {
	hosts, err := s.hosts(ctx, community)
	if err != nil {
		return err
	}
	if !hosts {
		return fault.New(fault.Forbidden, "Another server hosts this community, so only that one decides here.").WithCode("NotAuthorized")
	}
	may, err := s.May(ctx, person, community, duty)
	if err != nil {
		return err
	}
	if !may {
		return fault.New(fault.Forbidden, "Only those who look after this community may do this.").WithCode("NotAuthorized")
	}
	return nil
}

// recheckFor is how long posts of people who are no members are looked at again
// by themselves.
const recheckFor = 30 * 24 * time.Hour
