package index

import (
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"pgregory.net/rapid"
)

// A world is a few accounts that do everything to each other. What they do is
// drawn once, as numbers, and then happens in many worlds that differ by name
// only, so that all can share a database.

const (
	worldAccounts = 4 // the first two are used as communities
	worldKeys     = 3
)

// act is one operation of a history, in numbers.
type act struct {
	who, collection, key int
	action               Action
	// a to d choose what the record says.
	a, b, c, d int
	bad        bool // it cannot be read
}

// step is one commit.
type step struct {
	who  int
	rev  int
	acts []act
}

// deed is what can happen to a collection: how a record is made of an act.
type deed struct {
	collection syntax.NSID
	weight     int
	key        func(w world, a act) syntax.RecordKey
	fields     func(w world, a act) map[string]any
}

// world gives names to numbers.
type world struct{ name string }

func (w world) did(n int) syntax.DID {
	return syntax.DID(fmt.Sprintf("did:plc:%sx%d", w.name, n))
}

func (w world) cid(n int) syntax.CID {
	return []syntax.CID{someCID, "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"}[n%2]
}

func (w world) post(who, key int) syntax.ATURI { return postURI(w.did(who), key%worldKeys) }

// subject is a post in either form or a comment.
func (w world) subject(a, b, c int) syntax.ATURI {
	switch c % 4 {
	case 0:
		return recordURI(w.did(b), CommentCollection, rkey(a%worldKeys))
	case 1:
		return recordURI(w.did(b%2), LegacyPostCollection, rkey(a%worldKeys))
	}
	return w.post(b, a)
}

func deeds() []deed {
	byTID := func(_ world, a act) syntax.RecordKey { return rkey(a.key) }
	self := func(world, act) syntax.RecordKey { return "self" }
	byPost := func(w world, a act) syntax.RecordKey { return admissionKey(w.post(a.key/2%worldAccounts, a.key)) }
	subjectDID := func(w world, a act) map[string]any { return map[string]any{"subject": string(w.did(a.a))} }
	decides := func(w world, a act) map[string]any {
		return map[string]any{"subject": strong(w.post(a.key/2%worldAccounts, a.key), w.cid(a.b)), "code": "spam"}
	}
	return []deed{
		{PostCollection, 6, byTID, func(w world, a act) map[string]any {
			return map[string]any{"community": string(w.did(a.a % 2)), "title": fmt.Sprint("t", a.b),
				"createdAt": []string{"2026-03-01T11:00:01Z", "2999-01-01T00:00:00Z", "0011-01-01T00:00:00Z"}[a.c%3]}
		}},
		{AcceptanceCollection, 6, byPost, decides},
		{RemovalCollection, 2, byPost, decides},
		{CommentCollection, 4, byTID, func(w world, a act) map[string]any {
			root := w.post(a.a, a.b)
			if a.d%3 == 0 {
				root = recordURI(w.did(a.a%2), LegacyPostCollection, rkey(a.b%worldKeys))
			}
			parent := root
			if a.c%2 == 0 {
				parent = recordURI(w.did(a.c), CommentCollection, rkey(a.d%worldKeys))
			}
			return map[string]any{"content": "yes", "reply": map[string]any{
				"root": strong(root, w.cid(0)), "parent": strong(parent, w.cid(0))}}
		}},
		{VoteCollection, 8, byTID, func(w world, a act) map[string]any {
			return map[string]any{"subject": strong(w.subject(a.a, a.b, a.c), w.cid(0)), "direction": []string{"up", "down"}[a.d%2]}
		}},
		{SubscriptionCollection, 3, byTID, func(w world, a act) map[string]any {
			r := map[string]any{"subject": string(w.did(a.a % 2)), "contentVisibility": int64(a.b*3 - 1)}
			if a.c == 0 {
				r["endedAt"] = "2026-03-01T11:30:00Z"
			}
			return r
		}},
		{PersonBlockCollection, 1, byTID, subjectDID},
		{CommunityBlockCollection, 1, byTID, subjectDID},
		{PersonCollection, 1, self, func(_ world, a act) map[string]any {
			return map[string]any{"displayName": fmt.Sprint("n", a.a)}
		}},
		{CommunityCollection, 1, self, func(w world, a act) map[string]any {
			return map[string]any{"name": fmt.Sprint("n", a.a), "createdBy": string(w.did(3)), "hostedBy": "did:web:example.com",
				"visibility": []string{"public", "unlisted", "private", "strange"}[a.b]}
		}},
		{ModeratorCollection, 1, byTID, func(w world, a act) map[string]any {
			return map[string]any{"user": string(w.did(a.a)), "community": string(w.did(a.who)), "role": "admin", "createdBy": string(w.did(3))}
		}},
		{BanCollection, 1, byTID, func(w world, a act) map[string]any {
			return map[string]any{"subject": string(w.did(a.a)), "community": string(w.did(a.who)), "banType": "moderator", "reason": "spam"}
		}},
		{AuthorizationCollection, 1, byTID, func(w world, a act) map[string]any {
			return map[string]any{"aggregatorDid": string(w.did(a.a)), "communityDid": string(w.did(a.who)),
				"enabled": a.b%2 == 0, "createdBy": string(w.did(3))}
		}},
	}
}

// op makes an operation of an act.
func (w world) op(a act) Op {
	d := deeds()[a.collection]
	op := Op{Action: a.action, Collection: d.collection, RKey: d.key(w, a)}
	if a.action == Delete {
		return op
	}
	record := map[string]any{"$type": string(d.collection), "createdAt": "2026-03-01T11:00:00Z"}
	for k, v := range d.fields(w, a) {
		record[k] = v
	}
	op.CID, op.Record = w.cid(a.b), record
	if a.bad {
		op.Record["createdAt"] = "soon"
	}
	return op
}

// drawStory draws what all repositories of a world did, each in its order:
// creates, updates, deletes, re-creates, several operations on one record in
// one commit, and records that cannot be read.
func drawStory(rt *rapid.T) []step {
	var weighted []int
	for i, d := range deeds() {
		for range d.weight {
			weighted = append(weighted, i)
		}
	}
	exists := map[[3]int]bool{}
	var story []step
	few := rapid.IntRange(0, worldAccounts-1)
	for i := range rapid.IntRange(1, 30).Draw(rt, "commits") {
		s := step{who: few.Draw(rt, "who"), rev: 100 + i}
		for range rapid.IntRange(1, 3).Draw(rt, "acts") {
			a := act{who: s.who, action: Create, collection: rapid.SampledFrom(weighted).Draw(rt, "collection"),
				key: rapid.IntRange(0, worldKeys-1).Draw(rt, "key"), bad: rapid.IntRange(0, 14).Draw(rt, "bad") == 0,
				a: few.Draw(rt, "a"), b: few.Draw(rt, "b"), c: few.Draw(rt, "c"), d: few.Draw(rt, "d")}
			if k := deeds()[a.collection]; k.key(world{}, a) == "self" {
				a.key = 0
			}
			name := [3]int{a.who, a.collection, a.key}
			if exists[name] {
				a.action = rapid.SampledFrom([]Action{Update, Update, Delete}).Draw(rt, "action")
			}
			exists[name] = a.action != Delete
			s.acts = append(s.acts, a)
		}
		story = append(story, s)
	}
	return story
}
