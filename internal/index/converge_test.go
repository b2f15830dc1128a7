package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// tellStory applies a story as a hostile network would: in any order,
// repeated, in transactions of any size.
func tellStory(ctx context.Context, rt *rapid.T, x *Index, w world, story []step) error {
	seen := slices.Concat(story, rapid.SliceOfN(rapid.SampledFrom(story), 0, 5).Draw(rt, "repeats"))
	seen = rapid.Permutation(seen).Draw(rt, "order")
	for len(seen) > 0 {
		n := rapid.IntRange(1, len(seen)).Draw(rt, "batch")
		var commits []Commit
		for _, s := range seen[:n] {
			var ops []Op
			for _, a := range s.acts {
				ops = append(ops, w.op(a))
			}
			c, _ := x.Prepare(w.did(s.who), tid(s.rev), ops)
			commits = append(commits, c)
		}
		err := x.db.Tx(ctx, func(tx *store.Tx) error {
			_, err := x.Apply(ctx, tx, commits)
			return err
		})
		if err != nil {
			return err
		}
		seen = seen[n:]
	}
	return nil
}

// word is what a host says about an account.
type word struct {
	who, minute int
	active      bool
}

// drawWords draws at most one word for each minute: the last one is true.
func drawWords(rt *rapid.T) []word {
	var words []word
	for minute := range rapid.IntRange(0, 6).Draw(rt, "words") {
		words = append(words, word{rapid.IntRange(0, worldAccounts-1).Draw(rt, "account"), minute, rapid.Bool().Draw(rt, "active")})
	}
	return words
}

// hear applies what hosts say, in any order.
func hear(ctx context.Context, rt *rapid.T, x *Index, w world, words []word) error {
	var events []AccountEvent
	for _, v := range words {
		events = append(events, AccountEvent{DID: w.did(v.who), Status: w.status(v)})
	}
	if len(events) > 1 {
		events = rapid.Permutation(events).Draw(rt, "heard")
	}
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := x.ApplyAccounts(ctx, tx, events)
		return err
	})
}

func (w world) status(v word) *Status {
	return &Status{Active: v.active, Reason: "suspended", At: noon.Add(time.Duration(v.minute-30) * time.Minute)}
}

// resolveAll answers who the accounts of a world are, after everything else:
// the last word of each host.
func resolveAll(ctx context.Context, x *Index, w world, words []word) error {
	for n := range worldAccounts {
		answer := Answer{Identity: Identity{Handle: syntax.Handle(fmt.Sprintf("%sx%d.example.com", w.name, n))}}
		for _, v := range words {
			if v.who == n {
				answer.Status = w.status(v)
			}
		}
		if err := x.Resolve(ctx, Unresolved{DID: w.did(n)}, answer); err != nil {
			return err
		}
	}
	return nil
}

// TestConverges holds I3, I4, I9 and C3 for every record type: whatever the
// order, the repetitions and the batches, and whenever it becomes known who
// everybody is, the index is what an independent model says, counters, ranks
// and what is shown included.
func TestConverges(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var serial atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			story, words := drawStory(rt), drawWords(rt)
			for range size.Size(5, 100) { // times rapid's 100 stories
				w := world{fmt.Sprintf("w%d", serial.Add(1))}
				heard := rapid.IntRange(0, len(words)).Draw(rt, "heard before")
				err := errors.Join(hear(t.Context(), rt, x, w, words[:heard]), tellStory(t.Context(), rt, x, w, story),
					hear(t.Context(), rt, x, w, words[heard:]), resolveAll(t.Context(), x, w, words))
				if err != nil {
					rt.Fatalf("apply: %v", err)
				}
				got, err := lines(t.Context(), x, w)
				if err != nil {
					rt.Fatal(err)
				}
				if diff := cmp.Diff(foretell(w, story, words), got); diff != "" {
					rt.Fatalf("the index of %s (-oracle +index):\n%s", w.name, diff)
				}
			}
		})
	})
}

// dump reads rows of one world into lines.
type dump struct {
	x     *Index
	ids   string
	args  []any
	names map[int64]string // accounts, posts and comments by id
	lines map[string]string
}

// lines is what the index holds of a world, in the words of the oracle.
func lines(ctx context.Context, x *Index, w world) (map[string]string, error) {
	d := &dump{x: x, names: map[int64]string{0: ""}, lines: map[string]string{}}
	var dids []syntax.DID
	for n := range worldAccounts {
		dids = append(dids, w.did(n))
	}
	in, args := store.List(1, dids)
	var ids []int64
	err := d.read(ctx, `SELECT id, did FROM account WHERE did IN `+in, args, func(rows *sql.Rows) error {
		var id int64
		var did string
		err := rows.Scan(&id, &did)
		ids, d.names[id] = append(ids, id), did
		return err
	})
	if err != nil {
		return nil, err
	}
	d.ids, d.args = store.List(1, ids)
	for _, read := range []func(context.Context) error{d.posts, d.comments, d.ballots, d.documents, d.tallies, d.ranks, d.shown} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	return d.lines, nil
}

func (d *dump) read(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := d.x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return each(rows, func() error { return scan(rows) })
}

func (d *dump) posts(ctx context.Context) error {
	return d.read(ctx, `SELECT id, author_id, rkey, rev, deleted, COALESCE(community_id, 0), state, COALESCE(cid, ''), COALESCE(edited_at, 0),
		COALESCE(created_at, 0), record, fetch_due IS NOT NULL FROM post WHERE author_id IN `+d.ids, d.args, func(rows *sql.Rows) error {
		var id, author, rev, community, edited, created int64
		var rkey, cid string
		var deleted, wanted bool
		var state State
		var record []byte
		if err := rows.Scan(&id, &author, &rkey, &rev, &deleted, &community, &state, &cid, &edited, &created, &record, &wanted); err != nil {
			return err
		}
		uri := "at://" + d.names[author] + "/" + string(PostCollection) + "/" + rkey
		d.names[id] = uri
		if wanted {
			d.lines["wanted "+uri] = "yes"
		}
		if rev == 0 {
			return nil
		}
		line := fmt.Sprint(rev, " ", deleted, " ", d.names[community], " ", state, " ", cid, " ", edited)
		if !deleted {
			_, title, _ := strings.Cut(string(record), `"title":"`)
			title, _, _ = strings.Cut(title, `"`)
			line += fmt.Sprint(" ", created, " ", title)
		}
		d.lines["post "+uri] = line
		return nil
	})
}

func (d *dump) comments(ctx context.Context) error {
	type row struct {
		id, author, tid, rev, edited, created, root, parent int64
		deleted                                             bool
		cid                                                 string
	}
	var all []row
	err := d.read(ctx, `SELECT id, author_id, tid, rev, deleted, COALESCE(cid, ''), COALESCE(edited_at, 0), COALESCE(created_at, 0),
		COALESCE(root_id, 0), COALESCE(parent_id, 0) FROM comment WHERE author_id IN `+d.ids, d.args, func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.id, &r.author, &r.tid, &r.rev, &r.deleted, &r.cid, &r.edited, &r.created, &r.root, &r.parent)
		d.names[r.id] = string(recordURI(syntax.DID(d.names[r.author]), CommentCollection, tidText(r.tid)))
		all = append(all, r)
		return err
	})
	for _, r := range all {
		if r.rev == 0 {
			continue
		}
		line := fmt.Sprint(r.rev, " ", r.deleted, " ", r.cid, " ", r.edited)
		if !r.deleted {
			line += fmt.Sprint(" ", r.created, " ", d.names[r.root], " ", d.names[r.parent])
		}
		d.lines["comment "+d.names[r.id]] = line
	}
	return err
}

func (d *dump) ballots(ctx context.Context) error {
	for table, collection := range map[string]syntax.NSID{"vote": VoteCollection, "subscription": SubscriptionCollection,
		"person_block": PersonBlockCollection, "community_block": CommunityBlockCollection} {
		err := d.read(ctx, `SELECT account_id, tid, rev, value, COALESCE(subject_id, 0) FROM `+table+` WHERE account_id IN `+d.ids, d.args,
			func(rows *sql.Rows) error {
				var account, key, rev, value, subject int64
				err := rows.Scan(&account, &key, &rev, &value, &subject)
				name := "record "
				if table == "vote" {
					name = "vote "
				}
				d.lines[name+string(recordURI(syntax.DID(d.names[account]), collection, tidText(key)))] =
					fmt.Sprint(rev, " ", value, " ", d.names[subject])
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) documents(ctx context.Context) error {
	for _, t := range []struct {
		collection      syntax.NSID
		table, key, say string
		account         bool
	}{
		{PersonCollection, "actor_profile", "account_id, 0, ''", "COALESCE(display_name, '')", false},
		{CommunityCollection, "community", "account_id, 0, ''", "visibility", false},
		{ModeratorCollection, "moderator", "community_id, tid, ''", "user_id", true},
		{BanCollection, "ban", "community_id, tid, ''", "subject_id", true},
		{AuthorizationCollection, "aggregator_authorization", "community_id, 0, rkey", "aggregator_id", true},
	} {
		owner, _, _ := strings.Cut(t.key, ",")
		err := d.read(ctx, `SELECT `+t.key+`, rev, record IS NOT NULL, `+t.say+` FROM `+t.table+` WHERE `+owner+` IN `+d.ids, d.args,
			func(rows *sql.Rows) error {
				var account, key, rev int64
				var rkey syntax.RecordKey
				var there bool
				var said any
				err := rows.Scan(&account, &key, &rkey, &rev, &there, &said)
				switch {
				case key != 0:
					rkey = tidText(key)
				case rkey == "":
					rkey = "self"
				}
				line := fmt.Sprint(rev, " ", there)
				switch id, ok := said.(int64); {
				case t.account:
					line += " " + d.names[id]
				case said != nil && ok:
					line += fmt.Sprint(" ", id)
				case said != nil:
					line += fmt.Sprint(" ", said)
				}
				d.lines["record "+string(recordURI(syntax.DID(d.names[account]), t.collection, rkey))] = line
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) tallies(ctx context.Context) error {
	tally := func(rows *sql.Rows, what ...string) error {
		values := make([]int64, len(what)+1)
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		err := rows.Scan(into...)
		for i, name := range what {
			if values[i+1] != 0 {
				d.lines["count "+name+" "+d.names[values[0]]] = fmt.Sprint(values[i+1])
			}
		}
		return err
	}
	err := d.read(ctx, `SELECT account_id, posts, comments, subscriptions, subscribers, accepted FROM account_tally WHERE account_id IN `+d.ids,
		d.args, func(rows *sql.Rows) error {
			return tally(rows, "posts", "comments", "subscriptions", "subscribers", "accepted")
		})
	if err != nil {
		return err
	}
	return d.read(ctx, `SELECT t.comment_id, t.upvotes, t.downvotes, t.replies FROM comment_tally t JOIN comment c ON c.id = t.comment_id
		WHERE c.author_id IN `+d.ids, d.args, func(rows *sql.Rows) error { return tally(rows, "up", "down", "replies") })
}

func (d *dump) ranks(ctx context.Context) error {
	return d.read(ctx, `SELECT r.post_id, COALESCE(r.community_id, 0), r.state, r.created_at, r.hot, r.score, r.upvotes, r.downvotes, r.comments
		FROM post_rank r JOIN post p ON p.id = r.post_id WHERE p.author_id IN `+d.ids, d.args, func(rows *sql.Rows) error {
		var id int64
		var r rankRow
		err := rows.Scan(&id, &r.community, &r.state, &r.createdAt, &r.hot, &r.score, &r.upvotes, &r.downvotes, &r.comments)
		for what, n := range map[string]int64{"up": r.upvotes, "down": r.downvotes, "comments": r.comments} {
			if n != 0 {
				d.lines["count "+what+" "+d.names[id]] = fmt.Sprint(n)
			}
		}
		if r.community != 0 {
			d.lines["rank "+d.names[id]] = fmt.Sprint(d.names[r.community], " ", r.state, " ", r.createdAt, " ", r.score, " ", r.hot)
		}
		return err
	})
}

// shown reads by the condition that every list of posts uses.
func (d *dump) shown(ctx context.Context) error {
	return d.read(ctx, `SELECT p.id FROM post p JOIN account a ON a.id = p.author_id JOIN account c ON c.id = p.community_id
		LEFT JOIN community m ON m.account_id = c.id WHERE p.author_id IN `+d.ids+` AND `+visible, d.args, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		d.lines["shown "+d.names[id]] = "yes"
		return err
	})
}
