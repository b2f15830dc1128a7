package index

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// AdmissionKey is the key of acceptances and removals of a post: lower-case
// unpadded base32 of the SHA-256 of its AT-URI.
func AdmissionKey(uri syntax.ATURI) syntax.RecordKey { return admissionKey(uri) }

// Undecided is a post that its community has to decide about: it is new, or has
// changed since it was accepted. Where the author's account or the community's is
// inactive there is nothing to decide.
type Undecided struct {
	Community, Author syntax.DID
	RKey              syntax.RecordKey
	CID               syntax.CID
	id                int64
}

// undecidedQuery names the joins in the order in which SQLite is to take them:
// it is asked all the time, and must cost as much as has changed.
const undecidedQuery = `
SELECT c.did, a.did, p.rkey, p.cid, p.id%s
FROM %s CROSS JOIN post p CROSS JOIN community m CROSS JOIN account c CROSS JOIN account a
WHERE p.id = r.post_id AND m.account_id = p.community_id AND c.id = p.community_id AND a.id = p.author_id
  AND NOT p.deleted AND p.state IN (0, 2) AND a.active AND c.active AND %s`

// UndecidedSince lists posts that became undecided in the transactions after
// one and up to another (see Seq), in communities that say that instance hosts
// them. It knows of the last ten minutes.
func (x *Index) UndecidedSince(ctx context.Context, instance syntax.DID, after, upTo int64) ([]Undecided, error) {
	posts, err := x.undecidedMoves(ctx, after, upTo)
	if err != nil {
		return nil, fmt.Errorf("read changes of rank: %w", err)
	}
	keys := make([][]any, len(posts))
	for i, id := range posts {
		keys[i] = []any{id}
	}
	var out []Undecided
	err = x.db.Select(ctx, store.Table{Names: "post_id", Types: []string{"BIGINT"}, Rows: keys},
		fmt.Sprintf(undecidedQuery, ", COALESCE(m.hosted_by, '')", "wanted r", "TRUE"), func(row store.Row) error {
			var u Undecided
			var host syntax.DID
			err := row.Scan(&u.Community, &u.Author, &u.RKey, &u.CID, &u.id, &host)
			if host == instance {
				out = append(out, u)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list undecided posts: %w", err)
	}
	return out, nil
}

// UndecidedIn lists the undecided posts of one community, limit of them at
// most, those after the last one of the page before when that is given.
func (x *Index) UndecidedIn(ctx context.Context, community syntax.DID, after *Undecided, limit int) ([]Undecided, error) {
	var id int64
	if after != nil {
		id = after.id
	}
	return x.undecided(ctx, fmt.Sprintf(undecidedQuery, ``, `account h CROSS JOIN post_rank r`,
		`h.did = $1 AND r.community_id = h.id AND r.state IN (0, 2) AND r.post_id > $2 ORDER BY r.post_id LIMIT $3`), community, id, limit)
}

func (x *Index) undecided(ctx context.Context, query string, args ...any) ([]Undecided, error) {
	rows, err := x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list undecided posts: %w", err)
	}
	var out []Undecided
	err = each(rows, func() error {
		var u Undecided
		err := rows.Scan(&u.Community, &u.Author, &u.RKey, &u.CID, &u.id)
		out = append(out, u)
		return err
	})
	return out, err
}

// HostedBy lists the communities that say that instance hosts them.
func (x *Index) HostedBy(ctx context.Context, instance syntax.DID) ([]Account, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT a.did, COALESCE(a.handle, '') FROM community m JOIN account a ON a.id = m.account_id
		WHERE m.hosted_by = $1 AND m.record IS NOT NULL ORDER BY a.id`, instance)
	if err != nil {
		return nil, fmt.Errorf("list communities of %s: %w", instance, err)
	}
	var out []Account
	err = each(rows, func() error {
		var a Account
		err := rows.Scan(&a.DID, &a.Handle)
		out = append(out, a)
		return err
	})
	return out, err
}

// Standing is what a community's repository says about a post.
type Standing struct {
	Community, Author syntax.DID
	RKey              syntax.RecordKey
	CID               syntax.CID
	State             State
	// AuthorActive and CommunityActive tell that the accounts are; Shown, that the
	// community may be shown, too.
	AuthorActive, CommunityActive, Shown bool
	// Accepted is the version that an acceptance is for, empty without one.
	Accepted syntax.CID
	// Removal is nil without one.
	Removal *Removal
}

// Removal says why a community does not show a post.
type Removal struct {
	Code, Reason string
	At           time.Time
}

// URI names the post.
func (s Standing) URI() syntax.ATURI { return recordURI(s.Author, PostCollection, s.RKey) }

// Decision names the acceptance, or removal, that the community has or would
// have for the post.
func (s Standing) Decision(collection syntax.NSID) syntax.ATURI {
	return recordURI(s.Community, collection, admissionKey(s.URI()))
}

// Standing returns how a post stands in its community; the older form of its
// URI is understood. ok is false when there is no such post.
func (x *Index) Standing(ctx context.Context, uri syntax.ATURI) (s Standing, ok bool, err error) {
	if uri.Collection() == CommentCollection {
		return Standing{}, false, nil
	}
	id, ok, err := x.locate(ctx, uri)
	if err != nil || !ok {
		return Standing{}, false, err
	}
	var code, reason sql.NullString
	var removed syntax.CID
	var at int64
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT c.did, a.did, p.rkey, p.cid, p.state, a.active, c.active, c.active AND m.host_ok IS NOT FALSE,
		       COALESCE(d.accept_cid, ''), COALESCE(d.remove_cid, ''), d.remove_code, d.remove_reason, COALESCE(d.remove_at, 0)
		FROM post p JOIN account a ON a.id = p.author_id JOIN account c ON c.id = p.community_id
		LEFT JOIN community m ON m.account_id = c.id
		LEFT JOIN admission d ON d.post_id = p.id AND d.community_id = p.community_id
		WHERE p.id = $1 AND NOT p.deleted`, id).
		Scan(&s.Community, &s.Author, &s.RKey, &s.CID, &s.State, &s.AuthorActive, &s.CommunityActive, &s.Shown, &s.Accepted, &removed, &code, &reason, &at))
	if removed != "" {
		s.Removal = &Removal{Code: code.String, Reason: reason.String, At: store.FromMicros(at)}
	}
	return s, ok, err
}

// Subscribes reports whether a person follows a community.
func (x *Index) Subscribes(ctx context.Context, person, community syntax.DID) (bool, error) {
	stands, err := x.Stands(ctx, SubscriptionCollection, person, community)
	return len(stands) > 0 && stands[0].Value > 0, err
}

// Ban is a record by which a community shuts somebody out.
type Ban struct {
	RKey   syntax.RecordKey
	Record []byte // its JSON
	// InForce tells that it holds now.
	InForce bool
}

// Bans lists a community's bans of one person, the newest first.
func (x *Index) Bans(ctx context.Context, community, person syntax.DID) ([]Ban, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT b.tid, b.record, `+banned("$3")+` FROM ban b JOIN account a ON a.id = b.subject_id JOIN account c ON c.id = b.community_id
		WHERE a.did = $1 AND c.did = $2 ORDER BY b.tid DESC`, person, community, store.Micros(x.now()))
	if err != nil {
		return nil, fmt.Errorf("list bans of %s: %w", person, err)
	}
	var out []Ban
	err = each(rows, func() error {
		var b Ban
		var tid int64
		err := rows.Scan(&tid, &b.Record, &b.InForce)
		b.RKey = tidText(tid)
		out = append(out, b)
		return err
	})
	return out, err
}
