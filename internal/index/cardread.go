package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// visitor is who looks without having said who they are.
var visitor = Reader{}

// Reader finds the one who looks, in one query where they are not kept; an empty
// did is a visitor.
func (k *Cards) Reader(ctx context.Context, did syntax.DID) (*Reader, error) {
	if did == "" {
		return &visitor, nil
	}
	k.mu.Lock()
	r, ok := k.readers.get(did)
	at := k.now()
	if ok && !r.self.over {
		k.mu.Unlock()
		return r, nil
	}
	k.asked.Readers++
	k.mu.Unlock()
	r, err := k.index.reader(ctx, did)
	if err != nil || r.ID == 0 { // somebody of whom no record is here may get one any time
		return r, err
	}
	k.keepReader(at, r)
	return r, nil
}

// keepReader keeps what was read at a moment, unless it is over. So do the other
// keep functions.
func (k *Cards) keepReader(at readAt, r *Reader) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.serials++
	r.serial, r.self = k.serials, &dependence{}
	if k.holds(at, r.named) {
		r.self = depend(k.reading, r.ID)
		k.readers.put(r.DID, r)
	}
}

// reader reads who looks, with what they follow and block.
func (x *Index) reader(ctx context.Context, did syntax.DID) (*Reader, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT 0, id, 0, 0 FROM account WHERE did = $1
		UNION ALL SELECT 1, s.subject_id, s.value, s.tid FROM account a CROSS JOIN subscription s
		WHERE a.did = $1 AND s.account_id = a.id AND s.subject_id IS NOT NULL
		UNION ALL SELECT 2, k.subject_id, 1, 0 FROM account a CROSS JOIN person_block k
		WHERE a.did = $1 AND k.account_id = a.id AND k.subject_id IS NOT NULL
		UNION ALL SELECT 3, k.subject_id, 1, 0 FROM account a CROSS JOIN community_block k
		WHERE a.did = $1 AND k.account_id = a.id AND k.subject_id IS NOT NULL
		ORDER BY 1, 4`, did)
	if err != nil {
		return nil, fmt.Errorf("read who looks: %w", err)
	}
	r := &Reader{Viewer: Viewer{DID: did}, follows: map[int64]int{}, people: map[int64]bool{}, communities: map[int64]bool{}}
	err = each(rows, func() error {
		var what, value int
		var id, tid int64
		err := rows.Scan(&what, &id, &value, &tid)
		switch what {
		case 0:
			r.ID = id
		case 1: // the one with the greatest key counts
			if r.follows[id] = value; value == 0 {
				delete(r.follows, id)
			}
		case 2:
			r.people[id] = true
		default:
			r.communities[id] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read who looks: %w", err)
	}
	return r, nil
}

// CommunityID is Index.CommunityID, without a query where it is kept.
func (k *Cards) CommunityID(ctx context.Context, did syntax.DID) (id int64, ok bool, err error) {
	k.mu.Lock()
	p, ok := k.places.get(did)
	at := k.now()
	if ok && !p.place.over {
		k.mu.Unlock()
		return p.id, true, nil
	}
	k.asked.Communities++
	k.mu.Unlock()
	id, named, err := k.index.findCommunity(ctx, did)
	if err != nil || id == 0 {
		return 0, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// One that has nothing but posts is gone with the last of them.
	if named && k.holds(at, func(t Trace) bool { return among(t.Accounts, id) }) {
		k.places.put(did, communityPlace{id, depend(k.known, id)})
	}
	return id, true, nil
}

// Posts returns those of the posts with these ids that the reader may see in a
// listing, whole and in this order. It asks the database for what is not kept,
// in five queries at most; for at most store.MaxList ids.
func (k *Cards) Posts(ctx context.Context, r *Reader, in Listing, ids []int64) ([]Post, error) {
	have, err := k.take(ctx, ids)
	if err != nil {
		return nil, err
	}
	now, clauses := store.Micros(k.index.now()), postClauses(r.Viewer, in)
	out := make([]Post, 0, len(ids))
	var closed []int64
	for _, id := range ids {
		c := have[id]
		switch {
		case c == nil:
		case !c.open && r.ID != 0:
			closed = append(closed, id)
			out = append(out, Post{ID: id}) // its place
		case c.shown(clauses, r, now):
			out = append(out, c.post)
		}
	}
	inside, err := k.index.Posts(ctx, r.Viewer, in, closed)
	if err != nil {
		return nil, err
	}
	return k.dress(ctx, r, in, out, inside)
}

func (c *card) shown(clauses []clause, r *Reader, now int64) bool {
	for _, is := range clauses {
		if !is.holds(c, r, now) {
			return false
		}
	}
	return true
}

// dress adds how the reader stands to posts, and puts what the database has
// shown them in its places.
func (k *Cards) dress(ctx context.Context, r *Reader, in Listing, posts []Post, inside map[int64]Post) ([]Post, error) {
	votes, err := k.votesOn(ctx, r, posts)
	if err != nil {
		return nil, fmt.Errorf("read votes: %w", err)
	}
	stances := make([]Stance, len(posts))
	out := posts[:0]
	for i, p := range posts {
		if p.CommunityID == 0 {
			if p, ok := inside[p.ID]; ok {
				out = append(out, p)
			}
			continue
		}
		if r.DID != "" {
			stances[i] = Stance{Vote: votes[i], Follows: r.follows[p.CommunityID]}
			p.Viewer = &stances[i]
		}
		if !p.shielded(r.Viewer, in) {
			out = append(out, p)
		}
	}
	return out, nil
}

// take returns what is kept of posts, and reads the rest.
func (k *Cards) take(ctx context.Context, ids []int64) (map[int64]*card, error) {
	have := make(map[int64]*card, len(ids))
	var missing []int64
	k.mu.Lock()
	for _, id := range ids {
		if c, ok := k.cards.get(id); ok && !c.over() {
			have[id] = c
		} else {
			missing = append(missing, id)
		}
	}
	at := k.now()
	if len(missing) > 0 {
		k.asked.Posts++
	}
	k.mu.Unlock()
	if len(missing) == 0 {
		return have, nil
	}
	read, err := k.index.readCards(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	for _, c := range read {
		have[c.post.ID] = c
	}
	k.keepCards(at, read)
	return have, nil
}

func (k *Cards) keepCards(at readAt, read []*card) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range read {
		if k.holds(at, c.named) {
			c.writer, c.place = depend(k.known, c.author), depend(k.known, c.post.CommunityID)
			k.cards.put(c.post.ID, c)
		}
	}
}

// readCards reads posts with what decides who sees them.
func (x *Index) readCards(ctx context.Context, ids []int64) ([]*card, error) {
	list, args := store.List(1, ids)
	rows, err := x.db.Read().QueryContext(ctx, `SELECT `+postFields+`, 0, p.author_id, `+visible+`, `+open+`,
		COALESCE(m.visibility, 0), COALESCE(m.warnings, 0), `+outUntil("p.author_id", "p.community_id")+`
		FROM `+postTables+` WHERE `+postJoins+` AND NOT p.deleted AND p.id IN `+list, args...)
	if err != nil {
		return nil, err
	}
	var out []*card
	err = each(rows, func() error {
		c := &card{}
		p, _, err := scanPost(rows, &c.author, &c.visible, &c.open, &c.visibility, &c.warnings, &c.outUntil)
		c.post = p
		out = append(out, c)
		return err
	})
	return out, err
}

// votesOn are the reader's votes on posts, in their order, nil for none.
func (k *Cards) votesOn(ctx context.Context, r *Reader, posts []Post) ([]*Vote, error) {
	if r.ID == 0 || len(posts) == 0 {
		return make([]*Vote, len(posts)), nil
	}
	out := make([]*Vote, len(posts))
	var missing []int64
	k.mu.Lock()
	for i, p := range posts {
		v, ok := k.votes.get(voteKey{r.serial, p.ID})
		if out[i] = v; !ok && p.CommunityID != 0 {
			missing = append(missing, p.ID)
		}
	}
	if len(missing) > 0 {
		k.asked.Votes++
	}
	at := k.now()
	k.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	read, err := k.index.votesOn(ctx, r.Viewer, missing)
	if err != nil {
		return nil, err
	}
	for i, p := range posts {
		if v, ok := read[p.ID]; ok {
			out[i] = v
		}
	}
	k.keepVotes(at, r, missing, read)
	return out, nil
}

func (k *Cards) keepVotes(at readAt, r *Reader, posts []int64, votes map[int64]*Vote) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.self.over || !k.holds(at, r.named) {
		return
	}
	for _, id := range posts {
		k.votes.put(voteKey{r.serial, id}, votes[id])
	}
}
