package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Account is an account as views show it. Handle is empty until it has been
// verified in both directions.
type Account struct {
	DID    syntax.DID
	Handle syntax.Handle
}

// loadAccounts makes sure that every account of the changes has a row, and
// learns the ids. It reports whether any of them is still to be resolved.
func (b *batch) loadAccounts(ctx context.Context, p *Plan) (unresolved bool, err error) {
	b.accounts = accounts{p.at, make([]int64, len(p.people))}
	for i, who := range p.people {
		b.accounts.rows[i] = who.id
	}
	for _, i := range p.unknown {
		b.accounts.rows[i] = 0
	}
	found, unasked, err := b.readAccounts(ctx, p, p.unknown)
	if err != nil {
		return false, err
	}
	due := p.due || found || len(unasked) > 0
	var missing []int32
	for _, i := range p.unknown {
		if b.accounts.rows[i] == 0 {
			missing = append(missing, i)
		}
	}
	b.ask(ctx, unasked)
	if len(missing) == 0 {
		return due, nil
	}
	b.insertAccounts(ctx, p, missing)
	found, _, err = b.readAccounts(ctx, p, missing)
	return due || found, err
}

// readAccounts learns the ids of those people that have a row. It reports
// whether one is due to be resolved, and lists those that were quiet so far.
func (b *batch) readAccounts(ctx context.Context, p *Plan, people []int32) (due bool, unasked []int64, err error) {
	keys := make([][]any, len(people))
	for n, i := range people {
		keys[n] = []any{p.people[i].did}
	}
	err = b.probe(ctx, "did", []string{"TEXT"}, keys, `
		SELECT a.did, a.id, a.resolve_due IS NOT NULL, a.resolve_due IS NULL AND a.resolved_at IS NULL
		FROM wanted w CROSS JOIN account a WHERE a.did = w.did`,
		func(rows store.Row) error {
			var did syntax.DID
			var id int64
			var waits, quiet bool
			err := rows.Scan(&did, &id, &waits, &quiet)
			i := p.at[did]
			b.accounts.rows[i] = id
			due = due || waits
			if quiet && p.people[i].loud {
				unasked = append(unasked, id)
				quiet, waits = false, true // see ask
			}
			b.lesson.accounts[did] = knownAccount{id, !quiet, waits}
			return err
		})
	return due, unasked, err
}

// ask makes accounts due that were only known from what nobody sees.
func (b *batch) ask(ctx context.Context, ids []int64) {
	slices.Sort(ids)
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{b.now, id}
	}
	b.tx.Later().Update(ctx, "account", store.Table{Names: "resolve_due, id", Types: []string{"BIGINT", "BIGINT"}, Rows: rows})
}

// insertAccounts adds rows. The loud ones are due to be resolved; nobody waits
// for that: what they wrote is shown in the meantime.
func (b *batch) insertAccounts(ctx context.Context, p *Plan, people []int32) {
	rows := make([][]any, len(people))
	for n, i := range people {
		rows[n] = []any{b.ids.next(), p.people[i].did, true, int64(0), int64(0), nil}
		if p.people[i].loud {
			rows[n][5] = b.now
		}
	}
	b.upsert(ctx, "account", `id, did, active, status_at, resolve_attempts, resolve_due`,
		[]string{"BIGINT", "TEXT", "BOOLEAN", "BIGINT", "BIGINT", "BIGINT"}, rows, `ON CONFLICT (did) DO NOTHING`)
}

// AccountEvent is what a stream says about an account: a change of status, or
// (Status nil) that its identity is to be asked for again.
type AccountEvent struct {
	DID syntax.DID
	// Status is set by account events.
	Status *Status
}

// Status is whether an account's content may be shown.
type Status struct {
	Active bool
	// Reason is the network's word for why not: deactivated, suspended, …
	Reason string
	// At is when the host said so. The latest word counts.
	At time.Time
	// Host is the origin of the PDS that said it; empty when it comes from
	// somebody who watches all hosts. A PDS that an account has left says
	// nothing about it any more.
	Host string
}

// ApplyAccounts writes account events in the caller's transaction, in any
// order with the same result. Accounts that no record here names are passed
// over: what they are is asked when one does.
func (x *Index) ApplyAccounts(ctx context.Context, tx *store.Tx, events []AccountEvent) (int64, error) {
	if len(events) == 0 {
		return 0, nil
	}
	if err := x.tickAll(ctx, tx, events); err != nil {
		return 0, fmt.Errorf("take a turn at the index: %w", err)
	}
	var applied int64
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(p, q AccountEvent) int { return cmp.Compare(p.DID, q.DID) })
	for _, e := range sorted {
		n, err := x.applyAccount(ctx, tx, e)
		if err != nil {
			return 0, fmt.Errorf("index account %s: %w", e.DID, err)
		}
		applied += n
	}
	return applied, nil
}

// tickAll is tick for the accounts of events, with a number for each part of
// very many.
func (x *Index) tickAll(ctx context.Context, tx *store.Tx, events []AccountEvent) error {
	for some := range slices.Chunk(events, store.MaxList) {
		dids := make([]syntax.DID, len(some))
		for i, e := range some {
			dids[i] = e.DID
		}
		list, args := store.List(1, dids)
		if err := x.tick(ctx, tx, `did IN `+list, args...); err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) applyAccount(ctx context.Context, tx *store.Tx, e AccountEvent) (int64, error) {
	if e.Status == nil {
		// A request that is being answered keeps its due time; this is another.
		return affected(tx.ExecContext(ctx, `
			UPDATE account SET resolve_attempts = 0,
			    resolve_due = CASE WHEN resolve_due = $1 THEN resolve_due + 1 ELSE $1 END
			WHERE did = $2`, store.Micros(x.now()), e.DID))
	}
	// At the same moment the word that hides counts, whichever comes first.
	return affected(tx.ExecContext(ctx, `
		UPDATE account SET active = $1, status = CAST($2 AS TEXT), status_at = $3,
		    news_at = `+newsWhere(`active <> CAST($1 AS BOOLEAN) OR COALESCE(status, '') <> COALESCE(CAST($2 AS TEXT), '')`, "CAST($6 AS BIGINT)")+`
		WHERE did = $4
		  AND (status_at < $3 OR (status_at = $3 AND active AND NOT CAST($1 AS BOOLEAN)))
		  AND (pds IS NULL OR CAST($5 AS TEXT) = '' OR pds = $5)`,
		e.Status.Active, e.Status.reason(), x.clamp(e.Status.At), e.DID, e.Status.Host, store.Micros(x.now())))
}

// reason is what is stored: the status of an active account is NULL.
func (s Status) reason() any {
	if s.Active || s.Reason == "" {
		return nil
	}
	return s.Reason
}

// clamp keeps a stranger's clock from deciding for the future.
func (x *Index) clamp(t time.Time) int64 {
	return min(store.Micros(t), store.Micros(x.now()))
}

// Unresolved is an account whose handle and PDS are to be asked for.
type Unresolved struct {
	DID syntax.DID
	// Again tells that an older answer may be cached, and is not wanted.
	Again bool
	// Attempts counts the failures so far.
	Attempts int
	// due identifies this request: one that comes meanwhile stays open.
	due int64
}

// Unresolved lists accounts that are due to be resolved, the longest due
// first: those whose DID begins with prefix, "did:plc:" or "did:web:", at most
// limit. They are remembered in their rows, so a restart loses none.
func (x *Index) Unresolved(ctx context.Context, prefix string, limit int) ([]Unresolved, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT did, resolve_due, resolve_attempts, resolved_at IS NOT NULL FROM account
		WHERE resolve_due IS NOT NULL AND resolve_due <= $1 AND substr(did, 1, 8) = $2
		ORDER BY resolve_due, id LIMIT $3`, store.Micros(x.now()), prefix, limit)
	if err != nil {
		return nil, fmt.Errorf("list unresolved accounts: %w", err)
	}
	var out []Unresolved
	err = each(rows, func() error {
		var u Unresolved
		err := rows.Scan(&u.DID, &u.due, &u.Attempts, &u.Again)
		out = append(out, u)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list unresolved accounts: %w", err)
	}
	return out, nil
}

// Identity is what an account's DID document says, verified.
type Identity struct {
	DID syntax.DID
	// Handle is empty when there is none that leads back to the DID.
	Handle syntax.Handle
	// Unchecked tells that the handle could not be verified just now: what was
	// known before stays.
	Unchecked bool
	// PDS is the origin of the account's server; empty when it names none.
	PDS string
}

// Answer is what was found out about an unresolved account.
type Answer struct {
	Identity
	// Status is nil when the account's server did not say.
	Status *Status
	// Again is when to ask again; zero means not before there is a reason.
	Again time.Duration
}

// Resolve stores an answer about u.
func (x *Index) Resolve(ctx context.Context, u Unresolved, answer Answer) error {
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		tx.AfterCommit(func() { x.memory.forgets(u.DID) })
		answer.DID = u.DID
		if err := x.Identify(ctx, tx, answer.Identity); err != nil {
			return err
		}
		if answer.Status != nil {
			if _, err := x.applyAccount(ctx, tx, AccountEvent{DID: u.DID, Status: answer.Status}); err != nil {
				return err
			}
		}
		if answer.Again > 0 {
			return x.postpone(ctx, tx, u, answer.Again)
		}
		_, err := tx.ExecContext(ctx,
			`UPDATE account SET resolve_due = NULL, resolve_attempts = 0 WHERE did = $1 AND resolve_due = $2`,
			u.DID, u.due)
		return err
	})
}

// Identify stores a verified identity in the caller's transaction, where the
// account is known. A handle belongs to one account: an older holder loses it
// and is asked again. What a community with a new handle says about its server
// is to be verified anew.
func (x *Index) Identify(ctx context.Context, tx *store.Tx, id Identity) error {
	if err := x.tick(ctx, tx, `did = $1 OR handle = $2`, id.DID, string(id.Handle)); err != nil {
		return fmt.Errorf("take a turn at the index: %w", err)
	}
	now := store.Micros(x.now())
	if id.Handle != "" {
		_, err := tx.ExecContext(ctx, `
			UPDATE account SET handle = NULL, resolve_due = $1, resolve_attempts = 0
			WHERE handle = $2 AND did <> $3`, now, id.Handle, id.DID)
		if err != nil {
			return fmt.Errorf("take handle %s: %w", id.Handle, err)
		}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE community SET host_ok = NULL, host_due = $1, host_tries = 0 WHERE hosted_by IS NOT NULL AND account_id = (
		    SELECT id FROM account WHERE did = $2 AND NOT CAST($3 AS BOOLEAN) AND COALESCE(handle, '') <> $4)`,
		now, id.DID, id.Unchecked, string(id.Handle))
	if err != nil {
		return fmt.Errorf("doubt the host of %s: %w", id.DID, err)
	}
	handle, verified := orNull(string(id.Handle)), any(nil)
	if id.Handle != "" {
		verified = now
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE account SET pds = CAST($1 AS TEXT), resolved_at = CAST($2 AS BIGINT),
		    news_at = `+newsWhere(`resolved_at IS NULL OR handle IS NULL OR COALESCE(pds, '') <> COALESCE(CAST($1 AS TEXT), '')
		        OR NOT CAST($3 AS BOOLEAN) AND COALESCE(handle, '') <> COALESCE(CAST($4 AS TEXT), '')`, "CAST($2 AS BIGINT)")+`,
		    handle = CASE WHEN CAST($3 AS BOOLEAN) THEN handle ELSE CAST($4 AS TEXT) END,
		    verified_at = CASE WHEN CAST($3 AS BOOLEAN) THEN verified_at ELSE CAST($5 AS BIGINT) END
		WHERE did = $6`, orNull(id.PDS), now, id.Unchecked, handle, verified, id.DID)
	if err != nil {
		return fmt.Errorf("identify %s: %w", id.DID, err)
	}
	return nil
}

// Postpone puts off an account that could not be resolved.
func (x *Index) Postpone(ctx context.Context, u Unresolved, wait time.Duration) error {
	return x.db.Tx(ctx, func(tx *store.Tx) error { return x.postpone(ctx, tx, u, wait) })
}

func (x *Index) postpone(ctx context.Context, tx *store.Tx, u Unresolved, wait time.Duration) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE account SET resolve_due = $1, resolve_attempts = resolve_attempts + 1
		WHERE did = $2 AND resolve_due = $3`,
		store.Micros(x.now().Add(wait)), u.DID, u.due)
	return err
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

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
