package index

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// CommunityCollection is the record type that makes an account a community.
const CommunityCollection syntax.NSID = "social.coves.community.profile"

// Visibility is who finds a community. Its records are public all the same.
type Visibility int64

// The visibilities. Their numbers are stored. What a later version of the
// network may add counts as Unlisted.
const (
	Public Visibility = iota
	Unlisted
	Private
)

func visibilityWords() []string { return []string{"public", "unlisted", "private"} }

func communityKind() kind {
	s := sheet{table: "community", keys: 1, columns: []column{
		byAccount("account_id"), gate(), contentID(), made(), field("name", "TEXT"), field("display_name", "TEXT"),
		field("avatar", "TEXT"), field("visibility", "SMALLINT"), field("warnings", "SMALLINT"), field("hosted_by", "TEXT"), whole(),
		{"host_ok", "BOOLEAN", func(*batch, change) any { return nil }},
		{"host_due", "BIGINT", func(b *batch, ch change) any {
			if ch.value == nil {
				return nil
			}
			return b.now
		}},
		{"host_tries", "BIGINT", func(*batch, change) any { return int64(0) }},
	}, set: map[string]string{
		// The same claim as before keeps its answer.
		"host_ok":    `CASE WHEN excluded.hosted_by = community.hosted_by THEN community.host_ok END`,
		"host_due":   `CASE WHEN excluded.hosted_by = community.hosted_by THEN community.host_due ELSE excluded.host_due END`,
		"host_tries": `CASE WHEN excluded.hosted_by = community.hosted_by THEN community.host_tries ELSE 0 END`,
	}}
	return kind{nsid: CommunityCollection, key: isSelf, read: readCommunity, apply: s.apply}
}

func readCommunity(in input) (value, error) {
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	host := text(in.record, "hostedBy")
	if len(host) > MaxDIDBytes {
		return nil, flawed(ReasonReference, "hostedBy is too long")
	}
	return document{record: in.raw, fields: map[string]any{
		"created_at": created, "name": text(in.record, "name"), "display_name": orNull(text(in.record, "displayName")),
		"avatar": blobCID(in.record, "avatar"), "warnings": warningsIn(in.record, "contentWarnings"),
		"hosted_by": host, "visibility": wordOr(in.record, "visibility", visibilityWords(), int64(Public), int64(Unlisted)),
	}}, checkFacets(in.record, "description", "descriptionFacets")
}

// warningsIn reads a list of words.
func warningsIn(record map[string]any, name string) int64 {
	words, _ := record[name].([]any)
	var w Warnings
	for _, word := range words {
		text, _ := word.(string)
		w |= warningOf(text)
	}
	return int64(w)
}

// Community is a community as its record says and as others made it.
type Community struct {
	Account
	Record     json.RawMessage
	Name       string
	Visibility Visibility
	HostedBy   syntax.DID
	// Hosted is whether HostedBy has been verified; nil while it is not known.
	Hosted    *bool
	CreatedAt time.Time // clamped
	// Subscribers follow it, Members do and are not banned, Posts are accepted.
	Subscribers, Members, Posts int64
}

// shutOut counts those who follow community c and are shut out of it.
func shutOut(now string) string {
	return `(SELECT count(DISTINCT b.subject_id) FROM ban b
	    JOIN subscription s ON s.subject_id = c.id AND s.account_id = b.subject_id
	    WHERE b.community_id = c.id AND ` + banned(now) + ` AND s.value > 0 AND s.tid = (
	        SELECT max(o.tid) FROM subscription o WHERE o.subject_id = c.id AND o.account_id = b.subject_id))`
}

// Community returns a community that is active and not refused.
func (x *Index) Community(ctx context.Context, did syntax.DID) (c Community, ok bool, err error) {
	var record []byte
	var created, out int64
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT c.did, COALESCE(c.handle, ''), m.record, m.name, m.visibility, m.hosted_by, m.host_ok, m.created_at,
		       COALESCE(t.subscribers, 0), COALESCE(t.accepted, 0), `+shutOut("$2")+`
		FROM account c JOIN community m ON m.account_id = c.id LEFT JOIN account_tally t ON t.account_id = c.id
		WHERE c.did = $1 AND c.active AND m.record IS NOT NULL AND m.host_ok IS NOT FALSE`, did, store.Micros(x.now())).
		Scan(&c.DID, &c.Handle, &record, &c.Name, &c.Visibility, &c.HostedBy, &c.Hosted, &created,
			&c.Subscribers, &c.Posts, &out))
	c.Record, c.CreatedAt, c.Members = record, time.UnixMicro(created).UTC(), c.Subscribers-out
	return c, ok, err
}

// CommunityAt finds the community of this name that an instance hosts, which has
// been verified. Of several the one known longest counts.
func (x *Index) CommunityAt(ctx context.Context, instance syntax.DID, name string) (a Account, ok bool, err error) {
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT a.did, a.handle FROM community m JOIN account a ON a.id = m.account_id
		WHERE m.hosted_by = $1 AND m.name = $2 AND m.host_ok AND a.active AND m.record IS NOT NULL
		  AND substr(a.handle, 1, length(CAST($2 AS TEXT)) + 1) = CAST($2 AS TEXT) || '.'
		ORDER BY m.account_id LIMIT 1`, instance, name).Scan(&a.DID, &a.Handle))
	return a, ok, err
}

// HostClaim is what a community says about the server that holds its
// credentials, to be verified (H7): whether that domain owns its handle.
type HostClaim struct {
	// Community has no handle when none leads to it.
	Community Account
	HostedBy  syntax.DID
	// Held tells that the claim was confirmed before, Tries how often in a row
	// it was not since.
	Held  bool
	Tries int
	due   int64
}

// handleKnown holds for accounts a whose handle will not be known better by
// waiting a little: there is one, there is none, or asking fails again and again.
const handleKnown = `(a.handle IS NOT NULL OR a.resolved_at IS NOT NULL AND a.resolve_due IS NULL OR a.resolve_attempts >= 3)`

// HostClaims lists claims that are due to be checked, the longest due first,
// at most limit. Claims of communities whose handle is not known yet wait.
func (x *Index) HostClaims(ctx context.Context, limit int) ([]HostClaim, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT a.did, COALESCE(a.handle, ''), m.hosted_by, COALESCE(m.host_ok, false), m.host_tries, m.host_due
		FROM community m JOIN account a ON a.id = m.account_id
		WHERE m.host_due IS NOT NULL AND m.host_due <= $1 AND `+handleKnown+`
		ORDER BY m.host_due, m.account_id LIMIT $2`, store.Micros(x.now()), limit)
	if err != nil {
		return nil, fmt.Errorf("list hosting claims: %w", err)
	}
	var out []HostClaim
	err = each(rows, func() error {
		var c HostClaim
		err := rows.Scan(&c.Community.DID, &c.Community.Handle, &c.HostedBy, &c.Held, &c.Tries, &c.due)
		out = append(out, c)
		return err
	})
	return out, err
}

// HostAnswer is what was found out about a claim.
type HostAnswer struct {
	// OK is nil when it could not be found out, which leaves what was known.
	OK *bool
	// Failed tells that the claim was not confirmed, rather than not looked at.
	Failed bool
	// Again is when to look again.
	Again time.Duration
}

// AnswerHost stores an answer. One to a claim that has changed meanwhile is
// passed over.
func (x *Index) AnswerHost(ctx context.Context, c HostClaim, answer HostAnswer) error {
	tries := c.Tries
	switch {
	case answer.Failed:
		tries++
	case answer.OK != nil:
		tries = 0
	}
	var ok any
	if answer.OK != nil {
		ok = *answer.OK
	}
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		if err := x.tick(ctx, tx, `did = $1`, c.Community.DID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE community SET host_ok = COALESCE(CAST($1 AS BOOLEAN), host_ok), host_due = $2, host_tries = $3
			WHERE hosted_by = $4 AND host_due = $5
			  AND account_id = (SELECT id FROM account WHERE did = $6 AND COALESCE(handle, '') = $7)`,
			ok, store.Micros(x.now().Add(answer.Again)), tries, c.HostedBy, c.due, c.Community.DID, string(c.Community.Handle))
		return err
	})
}

// String returns the visibility's word.
func (v Visibility) String() string {
	if words := visibilityWords(); v >= 0 && int(v) < len(words) {
		return words[v]
	}
	return fmt.Sprintf("visibility(%d)", int64(v))
}

// ParseVisibility reads a word; nothing means public.
func ParseVisibility(text string) (Visibility, bool) {
	i := slices.Index(visibilityWords(), text)
	if text == "" {
		i = int(Public)
	}
	return Visibility(max(i, 0)), i >= 0
}
