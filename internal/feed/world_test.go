package feed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// noon is when tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const someCID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"

// process is one of several on a database.
type process struct {
	db    *store.DB
	index *index.Index
	feeds *Feeds
}

// clock can be moved.
type clock struct{ at atomic.Int64 }

func newClock() *clock { c := &clock{}; c.at.Store(noon.UnixMicro()); return c }

func (c *clock) now() time.Time { return time.UnixMicro(c.at.Load()).UTC() }

// newProcess opens a database that others may have open, too. Unless bare, its
// lists are loaded.
func newProcess(t testing.TB, cfg store.Config, c *clock, bare bool) *process {
	t.Helper()
	p := &process{db: storetest.Open(t, cfg)}
	var err error
	if p.index, err = index.New(index.Config{DB: p.db, Now: c.now}); err != nil {
		t.Fatal(err)
	}
	cursors, err := index.NewCursors(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	p.feeds, err = New(Config{Index: p.index, Cursors: cursors, Logger: slog.New(slog.DiscardHandler), Now: c.now, Bare: bare})
	if err != nil {
		t.Fatal(err)
	}
	if !bare {
		if err := p.feeds.keepUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// known is what the model knows of a post.
type known struct {
	uri       syntax.ATURI
	author    syntax.DID
	community int
	id        int64
	created   time.Time
	score     int64
	accepted  bool
	gone      bool // deleted or removed
}

// hot is the rank as the documentation says it is.
func (k known) hot() int64 {
	votes := int64(math.Round(1e6 * math.Log10(1+math.Abs(float64(k.score)))))
	if k.score < 0 {
		votes = -votes
	}
	return votes + (k.created.UnixMicro()-1735689600000000)/45000
}

func (k known) key(s Sort) int64 {
	return map[Sort]int64{Hot: k.hot(), Top: k.score, Newest: k.created.UnixMicro()}[s]
}

// model is a small network and what is known of it, apart from everything that
// is tested.
type model struct {
	t      testing.TB
	p      *process // who writes
	name   string
	rand   *rand.Rand
	clock  *clock
	serial int
	posts  []*known
	levels map[int]int // of the reader's subscriptions
	blocks map[syntax.DID]bool
	shut   map[int]bool // communities that the reader blocks
}

func newModel(t testing.TB, p *process, c *clock, name string, seed uint64) *model {
	return &model{t: t, p: p, name: name, clock: c, rand: rand.New(rand.NewPCG(seed, 7)),
		levels: map[int]int{}, blocks: map[syntax.DID]bool{}, shut: map[int]bool{}}
}

func (m *model) did(kind string, n int) syntax.DID {
	return syntax.DID(fmt.Sprintf("did:plc:%s%s%d", m.name, kind, n))
}

func (m *model) reader() syntax.DID { return m.did("reader", 0) }

// tid is a key, or revision, that is greater than all before.
func (m *model) tid() syntax.TID {
	m.serial++
	return syntax.NewTIDFromTime(noon.Add(-time.Hour+time.Duration(m.serial)*time.Millisecond), 1)
}

func (m *model) apply(did syntax.DID, collection syntax.NSID, key syntax.RecordKey, record map[string]any) {
	m.t.Helper()
	op := index.Op{Action: index.Create, Collection: collection, RKey: key, CID: someCID, Record: record}
	if record == nil {
		op = index.Op{Action: index.Delete, Collection: collection, RKey: key}
	} else {
		record["$type"] = string(collection)
		if record["createdAt"] == nil {
			record["createdAt"] = "2026-03-01T11:00:00Z"
		}
	}
	c, drops := m.p.index.Prepare(did, m.tid(), []index.Op{op})
	if len(drops) > 0 {
		m.t.Fatalf("dropped: %v", drops)
	}
	err := m.p.db.Tx(context.Background(), func(tx *store.Tx) error {
		_, err := m.p.index.Apply(context.Background(), tx, []index.Commit{c})
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func strong(uri syntax.ATURI) map[string]any {
	return map[string]any{"uri": string(uri), "cid": someCID}
}

// post writes a post of some age by one of a few authors; most are accepted.
func (m *model) post(age time.Duration) *known {
	m.t.Helper()
	key := m.tid()
	k := &known{author: m.did("author", m.rand.IntN(4)), community: m.rand.IntN(3),
		created: m.clock.now().Add(-age).Truncate(time.Millisecond)}
	if at := key.Time(); k.created.After(at) {
		k.created = at
	}
	k.uri = syntax.ATURI("at://" + string(k.author) + "/" + string(index.PostCollection) + "/" + string(key))
	m.apply(k.author, index.PostCollection, syntax.RecordKey(key), map[string]any{"title": "t",
		"community": string(m.did("community", k.community)), "createdAt": k.created.Format("2006-01-02T15:04:05.000000Z")})
	if m.rand.IntN(8) > 0 {
		m.accept(k)
	}
	found, err := m.p.index.PostsByURI(m.t.Context(), index.Viewer{}, []syntax.ATURI{k.uri})
	if err != nil || found[k.uri].ID == 0 {
		m.t.Fatalf("a new post is not there: %v", err)
	}
	k.id = found[k.uri].ID
	m.posts = append(m.posts, k)
	return k
}

func admissionKey(uri syntax.ATURI) syntax.RecordKey {
	sum := sha256.Sum256([]byte(uri))
	return syntax.RecordKey(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])))
}

func (m *model) accept(k *known) {
	m.t.Helper()
	m.apply(m.did("community", k.community), index.AcceptanceCollection, admissionKey(k.uri), map[string]any{"subject": strong(k.uri)})
	k.accepted = true
}

func (m *model) vote(k *known, up bool) {
	m.t.Helper()
	direction := map[bool]string{true: "up", false: "down"}[up]
	m.apply(m.did("voter", m.serial), index.VoteCollection, syntax.RecordKey(m.tid()), map[string]any{"subject": strong(k.uri), "direction": direction})
	if k.score--; up {
		k.score += 2
	}
}

func (m *model) remove(k *known) {
	m.t.Helper()
	if k.gone = true; m.rand.IntN(2) == 0 {
		m.apply(k.author, index.PostCollection, syntax.RecordKey(path(k.uri)), nil)
		return
	}
	m.apply(m.did("community", k.community), index.RemovalCollection, admissionKey(k.uri),
		map[string]any{"subject": strong(k.uri), "code": "spam"})
}

func path(uri syntax.ATURI) string { return string(uri)[strings.LastIndex(string(uri), "/")+1:] }

func (m *model) subscribe(community, level int) {
	m.t.Helper()
	m.levels[community] = level
	m.apply(m.reader(), index.SubscriptionCollection, syntax.RecordKey(m.tid()),
		map[string]any{"subject": string(m.did("community", community)), "contentVisibility": int64(level)})
}

func (m *model) block(author syntax.DID) {
	m.t.Helper()
	m.blocks[author] = true
	m.apply(m.reader(), index.PersonBlockCollection, syntax.RecordKey(m.tid()), map[string]any{"subject": string(author)})
}

func (m *model) blockCommunity(n int) {
	m.t.Helper()
	m.shut[n] = true
	m.apply(m.reader(), index.CommunityBlockCollection, syntax.RecordKey(m.tid()), map[string]any{"subject": string(m.did("community", n))})
}

// bars are the least scores that levels 1 and 2 show of a community.
func (m *model) bar(community, level int) int64 {
	share := map[int]float64{1: 0.1, 2: 0.3}[level]
	if level >= 5 {
		return math.MinInt64
	}
	if share == 0 {
		return 0
	}
	since := m.clock.now().Truncate(time.Hour).Add(-30 * 24 * time.Hour)
	var scores []int64
	for _, k := range m.posts {
		if k.community == community && k.accepted && !k.gone && !k.created.Before(since) {
			scores = append(scores, k.score)
		}
	}
	if len(scores) == 0 {
		return 1
	}
	slices.Sort(scores)
	slices.Reverse(scores)
	return max(1, scores[int(math.Ceil(float64(len(scores))*share))-1])
}

// expect is what a query is to show now, in order.
func (m *model) expect(q Query) []syntax.ATURI {
	type item struct {
		*known
		key int64
	}
	var items []item
	bars := map[int]int64{}
	for n, level := range m.levels {
		bars[n] = m.bar(n, level)
	}
	for _, k := range m.posts {
		it := item{k, k.key(q.Sort)}
		switch {
		case m.hides(k), q.Listing == Community && m.did("community", k.community) != q.Community,
			(q.Listing == Community || q.Listing == Home) && !k.accepted,
			q.Timeframe > 0 && k.created.Before(m.clock.now().Truncate(time.Second).Add(-q.Timeframe)):
			continue
		}
		if q.Listing == Home {
			level, ok := m.levels[k.community]
			if !ok || k.score < bars[k.community] {
				continue
			}
			if q.Sort == Hot {
				it.key += map[int]int64{1: -477121, 2: -238561, 4: 238561, 5: 477121}[level]
			}
		}
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(b.id, a.id)) })
	var out []syntax.ATURI
	for _, it := range items {
		out = append(out, it.uri)
	}
	return out
}

// hides reports whether the reader may not see a post at all now.
func (m *model) hides(k *known) bool { return k.gone || m.blocks[k.author] || m.shut[k.community] }

// hidden are the posts that the reader may not see now.
func (m *model) hidden() map[syntax.ATURI]bool {
	out := map[syntax.ATURI]bool{}
	for _, k := range m.posts {
		if m.hides(k) {
			out[k.uri] = true
		}
	}
	return out
}

// stir changes something.
func (m *model) stir() {
	m.t.Helper()
	k := m.posts[m.rand.IntN(len(m.posts))]
	switch n := m.rand.IntN(20); {
	case n < 12:
		m.vote(k, m.rand.IntN(3) > 0)
	case n < 16:
		m.post(time.Duration(m.rand.IntN(3600)) * time.Second)
	case n < 17 && !k.accepted && !k.gone:
		m.accept(k)
	case n < 18 && !k.gone:
		m.remove(k)
	case n == 19 && m.rand.IntN(10) == 0:
		m.block(k.author)
	case n == 18 && m.rand.IntN(20) == 0:
		m.blockCommunity(k.community)
	}
}

// ages of the first posts: hours, days, months, and over a year.
func (m *model) someAge() time.Duration {
	units := []time.Duration{time.Minute, time.Hour, day, 12 * day}
	return time.Duration(m.rand.Int64N(int64(40 * units[m.rand.IntN(len(units))])))
}

func (m *model) uris() []syntax.ATURI {
	all := map[syntax.ATURI]bool{}
	for _, k := range m.posts {
		all[k.uri] = true
	}
	return slices.Collect(maps.Keys(all))
}
