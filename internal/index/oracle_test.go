package index

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The oracle is what the index must look like after a story, worked out the
// slow way: the last version of every record by its true order, and everything
// else by going through all of them. It knows URIs and words, no rows.

// fact is a record as its repository has it in the end.
type fact struct {
	did        syntax.DID
	collection syntax.NSID
	rkey       syntax.RecordKey
	rev        int64
	edited     bool
	cid        string
	record     map[string]any // nil when there is none that can be read
}

func (f fact) uri() string { return string(recordURI(f.did, f.collection, f.rkey)) }

func (f fact) str(path ...string) string {
	var v any = f.record
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

// oracle holds all facts by URI.
type oracle struct {
	facts map[string]fact
	lines map[string]string
}

// foretell replays a story in its true order and says, line by line, what the
// index is to hold.
func foretell(w world, story []step, words []word) map[string]string {
	o := &oracle{facts: map[string]fact{}, lines: map[string]string{}}
	alive := map[string]bool{}
	for _, s := range story {
		before := maps.Clone(alive)
		for _, a := range s.acts {
			op := w.op(a)
			f := fact{did: w.did(s.who), collection: op.Collection, rkey: op.RKey, rev: int64(tid(s.rev).Integer())}
			f.edited = before[f.uri()]
			if !a.bad && op.Action != Delete && !o.nonsense(f.did, op) {
				f.record, f.cid = op.Record, string(op.CID)
			}
			alive[f.uri()] = op.Action != Delete
			o.facts[f.uri()] = f
		}
	}
	o.tell()
	silent := map[string]bool{}
	for _, v := range words {
		silent[string(w.did(v.who))] = !v.active
	}
	for _, p := range o.present(PostCollection) {
		if state, _ := o.state(p); state != "removed" && !silent[string(p.did)] && !silent[p.str("community")] {
			o.lines["shown "+p.uri()] = "yes"
		}
	}
	return o.lines
}

// nonsense is a comment that answers itself.
func (o *oracle) nonsense(did syntax.DID, op Op) bool {
	f := fact{record: op.Record}
	return f.str("reply", "parent", "uri") == string(recordURI(did, op.Collection, op.RKey))
}

func (o *oracle) of(collection syntax.NSID) []fact {
	var out []fact
	for _, uri := range slices.Sorted(maps.Keys(o.facts)) {
		if f := o.facts[uri]; f.collection == collection {
			out = append(out, f)
		}
	}
	return out
}

// present are the records of a type that exist.
func (o *oracle) present(collection syntax.NSID) []fact {
	return slices.DeleteFunc(o.of(collection), func(f fact) bool { return f.record == nil })
}

// state is a post's admission by the community that it names.
func (o *oracle) state(post fact) (state string, acceptRev int64) {
	var accept, remove fact
	for _, f := range append(o.present(AcceptanceCollection), o.present(RemovalCollection)...) {
		if f.did != syntax.DID(post.str("community")) || f.str("subject", "uri") != post.uri() {
			continue
		}
		if f.collection == AcceptanceCollection {
			accept = f
		} else {
			remove = f
		}
	}
	switch {
	case post.record == nil:
		return "pending", 0
	case remove.record != nil && remove.rev >= accept.rev, remove.record != nil && accept.record == nil:
		return "removed", accept.rev
	case accept.record == nil:
		return "pending", 0
	case accept.str("subject", "cid") != post.cid:
		return "pending_reacceptance", accept.rev
	}
	return "accepted", accept.rev
}

// means is what a subject's URI means: itself, or for the older form the
// earliest admitted post with that key.
func (o *oracle) means(uri string) string {
	if !strings.Contains(uri, "/"+string(LegacyPostCollection)+"/") {
		return uri
	}
	parts := strings.Split(uri, "/")
	best, bestRank := "", ""
	for _, p := range o.present(PostCollection) {
		state, rev := o.state(p)
		if p.str("community") != parts[2] || string(p.rkey) != parts[4] || state != "accepted" && state != "pending_reacceptance" {
			continue
		}
		rank := fmt.Sprintf("%020d %s", rev, admissionKey(syntax.ATURI(p.uri())))
		if best == "" || rank < bestRank {
			best, bestRank = p.uri(), rank
		}
	}
	return best
}

// ballots are the records of a type that count: of each account on each
// subject the one with the greatest key.
func (o *oracle) ballots(collection syntax.NSID, subject func(fact) string) []fact {
	last := map[string]fact{}
	for _, f := range o.present(collection) {
		key := string(f.did) + " " + subject(f)
		if have, ok := last[key]; !ok || f.rkey > have.rkey {
			last[key] = f
		}
	}
	return slices.Collect(maps.Values(last))
}

func (o *oracle) created(f fact) int64 {
	said, _ := time.Parse(time.RFC3339, f.str("createdAt"))
	times := []time.Time{said, noon}
	if t, err := syntax.ParseTID(string(f.rkey)); err == nil {
		times = append(times, t.Time())
	}
	return slices.MinFunc(times, time.Time.Compare).UnixMicro()
}

func (o *oracle) editedAt(f fact) int64 {
	if !f.edited || f.record == nil {
		return 0
	}
	return syntax.NewTIDFromInteger(uint64(f.rev)).Time().UnixMicro()
}

func (o *oracle) tell() {
	counts := map[string]map[string]int{}
	count := func(who, what string) {
		if counts[who] == nil {
			counts[who] = map[string]int{}
		}
		counts[who][what]++
	}
	o.tellVotes(count)
	for _, c := range o.present(CommentCollection) {
		count(o.means(c.str("reply", "root", "uri")), "comments")
		count(string(c.did), "comments")
		if parent := c.str("reply", "parent", "uri"); strings.Contains(parent, string(CommentCollection)) {
			count(parent, "replies")
		}
	}
	for _, s := range o.ballots(SubscriptionCollection, func(f fact) string { return f.str("subject") }) {
		if s.str("endedAt") == "" {
			count(string(s.did), "subscriptions")
			count(s.str("subject"), "subscribers")
		}
	}
	for _, p := range o.present(PostCollection) {
		count(string(p.did), "posts")
		if state, _ := o.state(p); state == "accepted" {
			count(p.str("community"), "accepted")
		}
	}
	delete(counts, "") // an older form that means nothing
	o.tellPosts()
	o.tellRecords()
	for who, c := range counts {
		for what, n := range c {
			o.lines["count "+what+" "+who] = fmt.Sprint(n)
		}
	}
	o.tellRanks(counts)
}

func (o *oracle) tellVotes(count func(who, what string)) {
	subject := func(f fact) string { return o.means(f.str("subject", "uri")) }
	for _, v := range o.ballots(VoteCollection, subject) {
		count(subject(v), v.str("direction"))
	}
	for _, v := range o.of(VoteCollection) {
		value := map[string]int{"up": 1, "down": -1}[v.str("direction")]
		o.lines["vote "+v.uri()] = fmt.Sprint(v.rev, " ", value, " ", subject(v))
	}
}

func (o *oracle) tellPosts() {
	for _, p := range o.of(PostCollection) {
		state, _ := o.state(p)
		line := fmt.Sprint(p.rev, " ", p.record == nil, " ", p.str("community"), " ", state, " ", p.cid, " ", o.editedAt(p))
		if p.record != nil {
			line += fmt.Sprint(" ", o.created(p), " ", p.str("title"))
		}
		o.lines["post "+p.uri()] = line
	}
	for _, c := range o.of(CommentCollection) {
		line := fmt.Sprint(c.rev, " ", c.record == nil, " ", c.cid, " ", o.editedAt(c))
		if c.record != nil {
			parent := c.str("reply", "parent", "uri")
			if !strings.Contains(parent, string(CommentCollection)) {
				parent = ""
			}
			line += fmt.Sprint(" ", o.created(c), " ", o.means(c.str("reply", "root", "uri")), " ", parent)
		}
		o.lines["comment "+c.uri()] = line
	}
	for _, a := range o.present(AcceptanceCollection) {
		if uri := a.str("subject", "uri"); o.facts[uri].rev == 0 {
			o.lines["wanted "+uri] = "yes"
		}
	}
}

// tellRanks says where lists show posts.
func (o *oracle) tellRanks(counts map[string]map[string]int) {
	for _, p := range o.present(PostCollection) {
		state, _ := o.state(p)
		if state == "removed" {
			continue
		}
		score := counts[p.uri()]["up"] - counts[p.uri()]["down"]
		hot := int64(math.Round(1e6*math.Log10(float64(1+max(score, -score))))) * int64(map[bool]int{true: 1, false: -1}[score >= 0])
		age := time.UnixMicro(o.created(p)).Sub(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()
		if o.created(p) < 0 { // before what a time.Duration can hold
			age = o.created(p) - time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
		}
		o.lines["rank "+p.uri()] = fmt.Sprint(p.str("community"), " ", state, " ", o.created(p), " ", score, " ", hot+age/45000)
	}
}

// tellRecords says what is kept of records that nothing is derived from.
func (o *oracle) tellRecords() {
	for _, f := range o.facts {
		line := fmt.Sprint(f.rev, " ", f.record != nil)
		switch f.collection {
		case SubscriptionCollection:
			value := int64(0)
			if n, ok := f.record["contentVisibility"].(int64); ok && f.str("endedAt") == "" {
				value = min(max(n, 1), 5)
			}
			line = fmt.Sprint(f.rev, " ", value, " ", f.str("subject"))
		case PersonBlockCollection, CommunityBlockCollection:
			line = fmt.Sprint(f.rev, " ", map[bool]int{true: 1}[f.record != nil], " ", f.str("subject"))
		case CommunityCollection:
			if f.record != nil {
				line += fmt.Sprint(" ", map[string]int{"public": 0, "private": 2, "unlisted": 1, "strange": 1}[f.str("visibility")])
			}
		case PersonCollection:
			line += " " + f.str("displayName")
		case ModeratorCollection:
			line += " " + f.str("user")
		case BanCollection:
			line += " " + f.str("subject")
		case AuthorizationCollection:
			line += " " + f.str("aggregatorDid")
		default:
			continue
		}
		o.lines["record "+f.uri()] = line
	}
}
