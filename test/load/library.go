package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	span         = 60 * 24 * time.Hour // from the first post to the last
	perCommit    = 2000                // records that are committed together
	memberLooks  = 100                 // communities that the member follows
	memberBlocks = 200                 // people whom the member blocks
	sampleSize   = 50                  // addresses of one kind that are asked for
	anyCID       = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
)

// library is what stands in the index: posts of many people in many communities, admitted, answered and voted for, one
// thread as large as they come, and a member who follows and blocks.
type library struct {
	posts, people, communities int
	member                     syntax.DID
	random                     *rand.Rand
	start                      time.Time
	serial                     int64

	db    *store.DB
	index *index.Index
	batch []index.Commit
}

func newLibrary(posts int, member syntax.DID) *library {
	return &library{
		posts: posts, people: max(posts/5, 4*memberBlocks), communities: max(posts/50, memberLooks+10), member: member,
		random: rand.New(rand.NewPCG(1, 2)), start: time.Now().Add(-span),
	}
}

func (l *library) person(n int) syntax.DID    { return syntax.DID(fmt.Sprintf("did:plc:%024d", n+1)) }
func (l *library) community(n int) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:c%023d", n+1)) }
func (l *library) author(post int) syntax.DID { return l.person(post % l.people) }

// key of a post; the next ones in time are at the end of the list.
func (l *library) key(post int) syntax.TID {
	return syntax.NewTIDFromTime(l.start.Add(span/time.Duration(l.posts)*time.Duration(post)), 1)
}

func (l *library) uri(post int) syntax.ATURI {
	return syntax.ATURI("at://" + l.author(post).String() + "/" + index.PostCollection.String() + "/" + l.key(post).String())
}

// words of which texts are made.
var words = strings.Fields("a tide pool keeps what the sea forgot and lends it to whoever kneels to look closely at the small lives " +
	"that wait there between two waters until somebody asks how deep it is and nobody knows")

func (l *library) text(n int) string {
	var b strings.Builder
	for i := range n {
		switch {
		case i > 0 && i%40 == 0:
			b.WriteString("\n\n")
		case i > 0:
			b.WriteByte(' ')
		}
		b.WriteString(words[l.random.IntN(len(words))])
	}
	return b.String()
}

// fill writes everything through the index, as the stream would bring it.
func (l *library) fill(ctx context.Context, db *store.DB) (err error) {
	l.db = db
	if l.index, err = index.New(index.Config{DB: db}); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{l.profiles, l.writePosts, l.writeThread, l.writeVotes, l.writeMember, l.flush, l.names, l.analyze} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// put adds a record; every so many are committed.
func (l *library) put(ctx context.Context, did syntax.DID, collection syntax.NSID, key syntax.RecordKey, record map[string]any) error {
	l.serial++
	rev := syntax.NewTIDFromTime(l.start.Add(time.Duration(l.serial)*time.Microsecond), 2)
	record["$type"] = collection.String()
	if record["createdAt"] == nil {
		record["createdAt"] = l.start.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	commit, drops := l.index.Prepare(did, rev, []index.Op{{Action: index.Create, Collection: collection, RKey: key, CID: anyCID, Record: record}})
	if len(drops) > 0 {
		return fmt.Errorf("a record of %s: %v", collection, drops)
	}
	if l.batch = append(l.batch, commit); len(l.batch) < perCommit {
		return nil
	}
	return l.flush(ctx)
}

func (l *library) flush(ctx context.Context) error {
	err := l.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := l.index.Apply(ctx, tx, l.batch)
		return err
	})
	l.batch = l.batch[:0]
	return err
}

// next is a record key that no other has.
func (l *library) next() syntax.RecordKey {
	return syntax.RecordKey(syntax.NewTIDFromTime(l.start.Add(time.Duration(l.serial)*time.Millisecond), 3))
}

func (l *library) profiles(ctx context.Context) error {
	for n := range l.communities {
		err := l.put(ctx, l.community(n), index.CommunityCollection, "self", map[string]any{
			"name": fmt.Sprint("pool", n), "displayName": fmt.Sprint("Pool ", n), "description": l.text(30),
			"createdBy": l.person(0).String(), "hostedBy": "did:web:example.com"})
		if err != nil {
			return err
		}
	}
	for n := range l.people {
		err := l.put(ctx, l.person(n), index.PersonCollection, "self", map[string]any{"displayName": fmt.Sprint("Person ", n), "bio": l.text(20)})
		if err != nil {
			return err
		}
	}
	return nil
}

// writePosts writes posts with their acceptances, of which every third has a link and some bold words, and two answers.
func (l *library) writePosts(ctx context.Context) error {
	for n := range l.posts {
		where := l.community(n / 2 % l.communities)
		if n%2 == 0 { // some communities get more
			where = l.community(l.random.IntN(l.communities))
		}
		post := map[string]any{"community": where.String(), "title": l.text(6), "content": l.text(20 + l.random.IntN(100))}
		if n%3 == 0 {
			post["facets"] = []any{facet(0, 6, "bold"), facet(8, 14, "italic")}
			post["embed"] = map[string]any{"$type": "social.coves.embed.external", "external": map[string]any{
				"uri": fmt.Sprintf("https://example.com/%d", n), "title": l.text(6), "description": l.text(20)}}
		}
		if err := l.put(ctx, l.author(n), index.PostCollection, syntax.RecordKey(l.key(n)), post); err != nil {
			return err
		}
		err := l.put(ctx, where, index.AcceptanceCollection, index.AdmissionKey(l.uri(n)), map[string]any{"subject": l.strong(n)})
		if err != nil {
			return err
		}
		for range 2 {
			if _, err := l.comment(ctx, n, l.strong(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func facet(start, end int64, kind string) map[string]any {
	return map[string]any{"index": map[string]any{"byteStart": start, "byteEnd": end},
		"features": []any{map[string]any{"$type": "social.coves.richtext.facet#" + kind}}}
}

func (l *library) strong(post int) map[string]any {
	return map[string]any{"uri": l.uri(post).String(), "cid": anyCID}
}

// comment answers parent, and returns what to answer it by.
func (l *library) comment(ctx context.Context, post int, parent map[string]any) (map[string]any, error) {
	who, key := l.person(l.random.IntN(l.people)), l.next()
	uri := "at://" + who.String() + "/" + index.CommentCollection.String() + "/" + key.String()
	return map[string]any{"uri": uri, "cid": anyCID}, l.put(ctx, who, index.CommentCollection, key, map[string]any{
		"content": l.text(10 + l.random.IntN(40)), "reply": map[string]any{"root": l.strong(post), "parent": parent}})
}

// readable is the post with number n, or the next before whose author the member does not block. n is at least l.people.
func (l *library) readable(n int) int {
	if n%l.people < memberBlocks {
		return n - n%l.people - 1
	}
	return n
}

// largest is the post with the thread of thousands.
func (l *library) largest() int { return l.readable(l.posts - 1) }

func (l *library) writeThread(ctx context.Context) error {
	parents := []map[string]any{l.strong(l.largest())}
	for range min(5000, l.posts/2) {
		parent := parents[0]
		if l.random.IntN(10) > 0 {
			parent = parents[l.random.IntN(len(parents))]
		}
		one, err := l.comment(ctx, l.largest(), parent)
		if err != nil {
			return err
		}
		parents = append(parents, one)
	}
	return nil
}

// writeVotes gives each post three votes on average, and few posts many.
func (l *library) writeVotes(ctx context.Context) error {
	for range 3 * l.posts {
		post := int(float64(l.posts) * l.random.Float64() * l.random.Float64())
		err := l.put(ctx, l.person(l.random.IntN(l.people)), index.VoteCollection, l.next(), map[string]any{
			"subject": l.strong(l.posts - 1 - post), "direction": []string{"up", "up", "up", "down"}[l.random.IntN(4)]})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *library) writeMember(ctx context.Context) error {
	for n := range memberLooks {
		err := l.put(ctx, l.member, index.SubscriptionCollection, l.next(), map[string]any{
			"subject": l.community(n * l.communities / memberLooks).String(), "contentVisibility": int64(1 + n%5)})
		if err != nil {
			return err
		}
	}
	for n := range memberBlocks {
		err := l.put(ctx, l.member, index.PersonBlockCollection, l.next(), map[string]any{"subject": l.person(n).String()})
		if err != nil {
			return err
		}
	}
	return nil
}

// names gives everybody a handle.
func (l *library) names(ctx context.Context) error {
	var all []index.Identity
	for n := range l.communities {
		all = append(all, index.Identity{DID: l.community(n), Handle: syntax.Handle(fmt.Sprintf("pool%d.example.com", n)), PDS: "https://example.com"})
	}
	for n := range l.people {
		all = append(all, index.Identity{DID: l.person(n), Handle: syntax.Handle(fmt.Sprintf("person%d.example.com", n)), PDS: "https://example.com"})
	}
	for len(all) > 0 {
		n := min(len(all), perCommit)
		err := l.db.Tx(ctx, func(tx *store.Tx) error {
			for _, id := range all[:n] {
				if err := l.index.Identify(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// analyze has PostgreSQL know what it holds, as its own daemon would within minutes.
func (l *library) analyze(ctx context.Context) error {
	if l.db.Engine() != store.Postgres {
		return nil
	}
	return l.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `ANALYZE`)
		return err
	})
}
