package index

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Gate is a row that only says up to which revision there is no record: it
// keeps what is late from coming back.
type Gate struct {
	DID syntax.DID
	// Rev is the revision, as the integer of its TID.
	Rev int64

	table   int
	account int64
	key     any
}

// gateTable is where gates of one record type are.
type gateTable struct {
	name, account, key string
	// numeric tells that the key is a number.
	numeric bool
	// gone holds for rows without a record.
	gone string
	// unused holds for those of them, called g, that nothing else names. Votes
	// are found by their account only, but whoever has some counts them.
	unused string
	// derived are the rows that go with one, by its id.
	derived []string
}

// gateTables lists record types of which an account can have any number. Of
// the others a row or two per account or post stay for good.
func gateTables() []gateTable {
	ballots := func(name, gone string) gateTable {
		return gateTable{name: name, account: "account_id", key: "tid", numeric: true, gone: gone, unused: "true"}
	}
	return []gateTable{
		ballots("vote", "value = 0"), ballots("subscription", "subject_id IS NULL"),
		ballots("person_block", "subject_id IS NULL"), ballots("community_block", "subject_id IS NULL"),
		{name: "comment", account: "author_id", key: "tid", numeric: true, gone: "deleted AND rev > 0", unused: `
			NOT EXISTS (SELECT 1 FROM comment o WHERE o.parent_id = g.id)
			AND NOT EXISTS (SELECT 1 FROM comment_tally o WHERE o.comment_id = g.id AND (o.upvotes > 0 OR o.downvotes > 0))`,
			derived: []string{`DELETE FROM comment_tally WHERE comment_id = $1`}},
		{name: "post", account: "author_id", key: "rkey", gone: "deleted AND rev > 0", unused: `
			g.fetch_due IS NULL AND NOT EXISTS (SELECT 1 FROM comment o WHERE o.root_id = g.id)
			AND NOT EXISTS (SELECT 1 FROM post_rank o WHERE o.post_id = g.id AND (o.upvotes > 0 OR o.downvotes > 0))
			AND NOT EXISTS (SELECT 1 FROM admission o WHERE o.post_id = g.id)
			AND NOT EXISTS (SELECT 1 FROM legacy_post o WHERE o.post_id = g.id)`,
			derived: []string{`DELETE FROM post_rank WHERE post_id = $1`}},
	}
}

// GatePlace is where a walk through the gates stands; it begins at zero.
type GatePlace struct {
	table int
	rev   int64
}

// Gates lists gates whose revision is from before a time, the oldest first and
// one record type after the other, at most limit, and where to go on. There
// are no more when more is false.
func (x *Index) Gates(ctx context.Context, from GatePlace, before time.Time, limit int) (gates []Gate, next GatePlace, more bool, err error) {
	tables := gateTables()
	if from.table >= len(tables) {
		return nil, from, false, nil
	}
	t := tables[from.table]
	if before.Unix() < 0 {
		before = time.Unix(0, 0) // no revision is from before that
	}
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT a.did, g.rev, g.`+t.account+`, g.`+t.key+` FROM `+t.name+` g JOIN account a ON a.id = g.`+t.account+`
		WHERE `+t.gone+` AND g.rev > $1 AND g.rev < $2 AND `+t.unused+` ORDER BY g.rev LIMIT $3`,
		from.rev, int64(syntax.NewTIDFromTime(before, 0).Integer()), limit)
	if err != nil {
		return nil, from, false, fmt.Errorf("list gates of %s: %w", t.name, err)
	}
	err = each(rows, func() error {
		g := Gate{table: from.table}
		var number int64
		var text string
		key := any(&text)
		if t.numeric {
			key = &number
		}
		err := rows.Scan(&g.DID, &g.Rev, &g.account, key)
		if g.key = text; t.numeric {
			g.key = number
		}
		gates = append(gates, g)
		return err
	})
	if err != nil {
		return nil, from, false, fmt.Errorf("list gates of %s: %w", t.name, err)
	}
	if len(gates) < limit {
		return gates, GatePlace{table: from.table + 1}, true, nil
	}
	return gates, GatePlace{table: from.table, rev: gates[len(gates)-1].Rev}, true, nil
}

// PruneGates removes gates that are still as they were listed, in the caller's
// transaction. The caller sees to it that nothing older than they are is
// applied any more.
func (x *Index) PruneGates(ctx context.Context, tx *store.Tx, gates []Gate) (int64, error) {
	if len(gates) == 0 {
		return 0, nil
	}
	// Otherwise somebody might refer to a row that is going.
	b := newBatch(tx, x)
	if err := b.takeTurn(ctx, x.db.Engine()); err != nil {
		return 0, fmt.Errorf("take a turn at the index: %w", err)
	}
	b.leaveTrace(ctx, nil) // nothing of it is shown
	var removed int64
	tables := gateTables()
	for _, g := range gates {
		n, err := pruneGate(ctx, tx, tables[g.table], g)
		if err != nil {
			return 0, fmt.Errorf("remove a gate of %s: %w", g.DID, err)
		}
		removed += n
	}
	return removed, nil
}

func pruneGate(ctx context.Context, tx *store.Tx, t gateTable, g Gate) (int64, error) {
	where := ` FROM ` + t.name + ` AS g WHERE g.` + t.account + ` = $1 AND g.` + t.key + ` = $2 AND g.rev = $3 AND ` + t.gone + ` AND ` + t.unused
	for _, derived := range t.derived {
		var id int64
		ok, err := found(tx.QueryRowContext(ctx, `SELECT g.id`+where, g.account, g.key, g.Rev).Scan(&id))
		if err != nil || !ok {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, derived, id); err != nil {
			return 0, err
		}
	}
	return affected(tx.ExecContext(ctx, `DELETE`+where, g.account, g.key, g.Rev))
}
