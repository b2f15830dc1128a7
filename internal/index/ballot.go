package index

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// box is a table of records by which accounts take a stand on subjects, at
// most one of which counts per account and subject: the one with the greatest
// key. Votes, subscriptions and blocks are such.
type box struct {
	table string
	// alias tells that the table has references in the older form.
	alias bool
	// named tells that the table has the record's CID.
	named bool
	// timely tells that the table is in the order of the records' keys.
	timely bool
	// count is told how an account's stand on a subject has changed; nil where
	// nothing is counted. Zero is no stand.
	count func(b *batch, p pair, before, after int64)
}

// stand is a record's value: what it says about whom.
type stand struct {
	// subject is a record, or else an account.
	subject target
	account syntax.DID
	value   int64
}

func (s stand) refs() refs {
	if s.account != "" {
		return refs{s.account}
	}
	return refs{s.subject.did}
}

// pair is who takes a stand on what.
type pair struct{ subject, account int64 }

// ballot is one record of a pair.
type ballot struct {
	tid, value int64
}

// ballotKey names a row.
type ballotKey struct{ account, tid int64 }

// ballotRow is a row as it is or is to be.
type ballotRow struct {
	rev, value, subject, alias int64
}

// apply writes changes and tells count what follows.
func (x box) apply(ctx context.Context, b *batch, changes []change) (int64, error) {
	var subjects []wanted
	for i := range changes {
		ch := &changes[i]
		if s, ok := ch.value.(stand); ok && s.account == "" && !b.foresees(ch) {
			subjects = append(subjects, b.wants(ch, 0, s.subject))
		}
	}
	if err := b.resolve(ctx, subjects); err != nil {
		return 0, err
	}
	have, err := x.load(ctx, b, changes)
	if err != nil {
		return 0, err
	}
	fresh := changes
	if len(have) > 0 {
		fresh = make([]change, 0, len(changes))
		for i := range changes {
			if old, ok := have[changes[i].ballotKey()]; !ok || changes[i].rev > old.rev {
				fresh = append(fresh, changes[i])
			}
		}
	}
	return int64(len(fresh)), x.write(ctx, b, fresh, have)
}

func (c *change) ballotKey() ballotKey { return ballotKey{c.account, c.tid} }

// foresees tells that the row of what a change speaks of is known.
func (b *batch) foresees(ch *change) bool { return b.foreseen && ch.foreseen != 0 }

// row is what a change leaves.
func (x box) row(b *batch, ch *change) ballotRow {
	r := ballotRow{rev: ch.rev}
	s, ok := ch.value.(stand)
	if !ok {
		return r
	}
	r.value = s.value
	switch {
	case s.account != "":
		r.subject = b.accounts.rows[ch.named[0]]
		return r
	case b.foresees(ch):
		r.subject = ch.foreseen
		return r
	}
	it := b.items[b.wants(ch, 0, s.subject).itemKey]
	r.subject, r.alias = it.id, it.alias
	return r
}

// load reads the rows that changes are about.
func (x box) load(ctx context.Context, b *batch, changes []change) (map[ballotKey]ballotRow, error) {
	have := map[ballotKey]ballotRow{}
	within, err := x.loadWithin(ctx, b, changes, have)
	if err != nil {
		return nil, err
	}
	var keys []int64
	for i := range changes {
		if k := changes[i].ballotKey(); !within.has(k.tid) {
			keys = append(keys, k.account, k.tid)
		}
	}
	err = b.probeNumbers(ctx, "account_id, tid", keys, `
		SELECT v.account_id, v.tid, v.rev, v.value, COALESCE(v.subject_id, 0)
		FROM wanted w CROSS JOIN `+x.table+` v WHERE v.account_id = w.account_id AND v.tid = w.tid`,
		func(rows store.Row) error {
			var k ballotKey
			var r ballotRow
			err := rows.Scan(&k.account, &k.tid, &r.rev, &r.value, &r.subject)
			have[k] = r
			return err
		})
	return have, err
}

// span is keys from one on and below another.
type span struct{ from, to int64 }

func (s span) has(tid int64) bool { return tid >= s.from && tid < s.to }

const (
	// fewBallots are looked up one by one.
	fewBallots = 8
	// strays is one part of how many keys may be of another time than the rest.
	strays = 20
)

// loadWithin reads all rows whose keys, which are times, lie between those of most
// changes, and returns that span: what is new has few rows there or none, which is
// told at once. Where there are many the span is empty.
func (x box) loadWithin(ctx context.Context, b *batch, changes []change, have map[ballotKey]ballotRow) (span, error) {
	if !x.timely || len(changes) < fewBallots {
		return span{}, nil
	}
	tids := make([]int64, len(changes))
	for i := range changes {
		tids[i] = changes[i].tid
	}
	slices.Sort(tids)
	all := span{tids[0], tids[len(tids)-1] + 1}
	within := span{tids[len(tids)/strays], tids[len(tids)-1-len(tids)/strays] + 1}
	if (all.to-all.from)/2 <= within.to-within.from {
		within = all
	}
	most := len(changes) / 4
	rows, err := b.tx.QueryContext(ctx, `
		SELECT account_id, tid, rev, value, COALESCE(subject_id, 0) FROM `+x.table+`
		WHERE tid >= $1 AND tid < $2 ORDER BY tid, account_id LIMIT $3`, within.from, within.to, most)
	if err != nil {
		return span{}, err
	}
	err = each(rows, func() error {
		var k ballotKey
		var r ballotRow
		err := rows.Scan(&k.account, &k.tid, &r.rev, &r.value, &r.subject)
		have[k] = r
		return err
	})
	if len(have) == most {
		return span{}, err // there may be more; what was read is true all the same
	}
	return within, err
}

// write stores changes that passed the gate.
func (x box) write(ctx context.Context, b *batch, fresh []change, have map[ballotKey]ballotRow) error {
	var rows ballotRows
	pairs := make([]pair, 0, len(fresh))
	lost := map[pair]bool{} // where a record went: memory cannot tell what counts now
	news := make(map[pair]ballot, len(fresh))
	for i := range fresh {
		ch := &fresh[i]
		k, r := ch.ballotKey(), x.row(b, ch)
		old, there := have[k]
		x.add(&rows, k, r, ch.cid, there)
		if old.subject != 0 {
			pairs = append(pairs, pair{old.subject, k.account})
			lost[pair{old.subject, k.account}] = true
		}
		if r.subject != 0 {
			p := pair{r.subject, k.account}
			pairs = append(pairs, p)
			if k.tid >= news[p].tid {
				news[p] = ballot{k.tid, r.value}
			}
		}
	}
	if x.count == nil {
		return x.store(ctx, b, rows)
	}
	return x.recount(ctx, b, pairs, lost, news, func() error { return x.store(ctx, b, rows) })
}

// ballotRows are rows that are to be written. New ones of tables that hold but
// numbers, of which there are most, are numbers.
type ballotRows struct {
	toWrite
	numbers []int64
}

// subjectAt is the column of the subject, which is NULL where there is none, as
// the alias after it is.
const subjectAt = 4

func (x box) add(rows *ballotRows, k ballotKey, r ballotRow, cid syntax.CID, there bool) {
	if !there && !x.named {
		rows.numbers = append(rows.numbers, k.account, k.tid, r.rev, r.value, r.subject)
		if x.alias {
			rows.numbers = append(rows.numbers, r.alias)
		}
		return
	}
	row := []any{k.account, k.tid, r.rev, r.value, idOrNull(r.subject)}
	if x.alias {
		row = append(row, idOrNull(r.alias))
	}
	if x.named {
		row = append(row, orNull(string(cid)))
	}
	rows.toWrite.add(row, there)
}

// store writes rows.
func (x box) store(ctx context.Context, b *batch, rows ballotRows) error {
	columns, set := "account_id, tid, rev, value, subject_id", "rev = excluded.rev, value = excluded.value, subject_id = excluded.subject_id"
	types := []string{"BIGINT", "BIGINT", "BIGINT", "SMALLINT", "BIGINT"}
	if x.alias {
		columns, set, types = columns+", alias_id", set+", alias_id = excluded.alias_id", append(types, "BIGINT")
	}
	if x.named {
		columns, set, types = columns+", cid", set+", cid = excluded.cid", append(types, "TEXT")
	}
	b.tx.Later().Insert(ctx, x.table, store.Table{Names: columns, Types: types, Numbers: rows.numbers, NullZero: []int{subjectAt, subjectAt + 1}}, "")
	b.write(ctx, x.table, columns, types, rows.toWrite,
		`ON CONFLICT (account_id, tid) DO UPDATE SET `+set)
	return nil
}

// recount runs a write and tells count what it did to pairs. news has what is
// added to each; for those in lost the table is asked again.
func (x box) recount(ctx context.Context, b *batch, pairs []pair, lost map[pair]bool, news map[pair]ballot, write func() error) error {
	slices.SortFunc(pairs, func(p, q pair) int {
		return cmp.Or(cmp.Compare(p.subject, q.subject), cmp.Compare(p.account, q.account))
	})
	pairs = slices.Compact(pairs)
	before, err := x.counting(ctx, b, x.mayCount(b, pairs, lost))
	if err != nil {
		return err
	}
	b.putOff(write)
	after := map[pair]ballot{}
	if len(lost) > 0 {
		if err := b.writeVotes(); err != nil {
			return err
		}
		if after, err = x.counting(ctx, b, slices.Collect(maps.Keys(lost))); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		is, was := after[p], before[p]
		if !lost[p] {
			if is = was; news[p].tid > was.tid {
				is = news[p]
			}
		}
		if is.value != was.value {
			x.count(b, p, was.value, is.value)
		}
	}
	return nil
}

// mayCount leaves out pairs of which it is known that no record counts: who has
// voted in the batches before is known of their subject. Where this batch has
// changed something the table is asked.
func (x box) mayCount(b *batch, pairs []pair, lost map[pair]bool) []pair {
	if x.table != "vote" || !b.current {
		return pairs
	}
	b.memory.mu.Lock()
	defer b.memory.mu.Unlock()
	out := make([]pair, 0, len(pairs))
	for _, p := range pairs {
		if r, ok := b.memory.ranks.get(p.subject); !ok || lost[p] || r.voters&asVoter(p.account) != 0 {
			out = append(out, p)
		}
	}
	return out
}

// counting finds the record that counts for each pair. Most pairs are new: for
// them the first query, which the index by account answers alone, is all.
func (x box) counting(ctx context.Context, b *batch, pairs []pair) (map[pair]ballot, error) {
	keys := make([]int64, 0, 3*len(pairs))
	for i, p := range pairs {
		keys = append(keys, int64(i), p.subject, p.account)
	}
	var held []int64
	err := b.probeNumbers(ctx, "n, subject_id, account_id", keys, `
		SELECT h.n, h.tid FROM (
		    SELECT w.n, (SELECT o.tid FROM `+x.table+` o
		        WHERE o.subject_id = w.subject_id AND o.account_id = w.account_id
		        ORDER BY o.subject_id DESC, o.account_id DESC, o.tid DESC LIMIT 1) AS tid
		    FROM wanted w) h
		WHERE h.tid IS NOT NULL`,
		func(rows store.Row) error {
			var n, tid int64
			err := rows.Scan(&n, &tid)
			held = append(held, n, pairs[n].account, tid)
			return err
		})
	if err != nil {
		return nil, err
	}
	out := make(map[pair]ballot, len(held)/3)
	err = b.probeNumbers(ctx, "n, account_id, tid", held, `
		SELECT w.n, v.tid, v.value FROM wanted w CROSS JOIN `+x.table+` v
		WHERE v.account_id = w.account_id AND v.tid = w.tid`,
		func(rows store.Row) error {
			var n int64
			var v ballot
			err := rows.Scan(&n, &v.tid, &v.value)
			out[pairs[n]] = v
			return err
		})
	return out, err
}
