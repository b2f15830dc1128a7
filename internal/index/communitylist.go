package index

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// CommunityOrder is what a list of communities is sorted by.
type CommunityOrder uint8

// The orders: the most followed, the liveliest (by their hottest post), the
// newest first, and by name.
const (
	ByFollowers CommunityOrder = iota
	ByLife
	ByFounding
	Alphabetical
)

// CommunityQuery asks for a page of communities.
type CommunityQuery struct {
	Order CommunityOrder
	// Visibility is which are listed: Public by itself. Private ones are listed
	// to those who may enter.
	Visibility Visibility
	// Followed leaves those that the viewer follows, whichever their
	// visibility.
	Followed bool
	// Text must be in the name, the display name or the handle; empty for all.
	Text  string
	Limit int
	After *CommunityKey
}

// CommunityKey is where a page of communities ended.
type CommunityKey struct {
	Key int64 // of the order; 0 for Alphabetical
	ID  int64
}

// Listed is a community in a list, as the viewer stands to it.
type Listed struct {
	Place
	Visibility Visibility
	Warnings   Warnings
	CreatedAt  time.Time // clamped
	// HostedBy is what it says; Hosted is whether that has been verified, nil
	// while it is not known.
	HostedBy syntax.DID
	Hosted   *bool
	// Subscribers follow it, Members do and are not shut out, Posts are accepted.
	Subscribers, Members, Posts int64
	// Member tells that the viewer is one.
	Member bool
	// Follows is how much of it the viewer wants to see, 0 for nothing.
	Follows int
}

// communityKeys are the expressions of the orders that compare numbers.
var communityKeys = [...]string{
	ByFollowers: `COALESCE(t.subscribers, 0)`,
	ByLife: `COALESCE((SELECT r.hot FROM post_rank r WHERE r.community_id = m.account_id
		ORDER BY r.community_id DESC, r.hot DESC, r.post_id DESC LIMIT 1), 0)`,
	ByFounding:   `m.created_at`,
	Alphabetical: `0`,
}

// communityName is what communities are sorted by under Alphabetical.
const communityName = `lower(COALESCE(m.display_name, m.name, ''))`

// Communities lists communities that the viewer may see and does not block. next
// is nil on the last page.
func (x *Index) Communities(ctx context.Context, v Viewer, q CommunityQuery) (list []Listed, next *CommunityKey, err error) {
	query, args := x.communityQuery(v, q)
	rows, err := x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("list communities: %w", err)
	}
	var last CommunityKey
	err = each(rows, func() error {
		var c Listed
		var created int64
		var key CommunityKey
		err := rows.Scan(&key.ID, &key.Key, &c.DID, &c.Handle, &c.Name, &c.DisplayName, &c.Avatar, &c.Visibility, &c.Warnings,
			&created, &c.HostedBy, &c.Hosted, &c.Subscribers, &c.Members, &c.Posts, &c.Follows, &c.Member)
		if len(list) == q.Limit {
			next = &last
			return err
		}
		c.CreatedAt = time.UnixMicro(created).UTC()
		list, last = append(list, c), key
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list communities: %w", err)
	}
	return list, next, nil
}

func (x *Index) communityQuery(v Viewer, q CommunityQuery) (string, []any) {
	args := x.sight(v)
	param := func(value any, as string) string {
		args = append(args, value)
		return "CAST($" + strconv.Itoa(len(args)) + " AS " + as + ")"
	}
	key := communityKeys[q.Order]
	cond := communityStands + ` AND m.record IS NOT NULL AND ` + entered(v)
	if v.ID == 0 {
		cond += ` AND CAST($1 AS BIGINT) = 0`
	} else {
		cond += ` AND NOT ` + blockedCommunity("c.id")
	}
	cond += ` AND CAST($2 AS BIGINT) > 0`
	if q.Followed {
		// The first part finds them, where the second would be asked of every community.
		cond += ` AND m.account_id IN (SELECT w.subject_id FROM subscription w WHERE w.account_id = $1) AND ` + follows("c.id") + ` > 0`
	} else {
		cond += ` AND m.visibility = ` + param(int64(q.Visibility), "BIGINT")
	}
	if q.Text != "" {
		like := param("%"+likeText(q.Text)+"%", "TEXT")
		cond += ` AND (` + communityName + ` LIKE ` + like + ` ESCAPE '!' OR lower(COALESCE(m.name, '')) LIKE ` + like +
			` ESCAPE '!' OR COALESCE(c.handle, '') LIKE ` + like + ` ESCAPE '!')`
	}
	order := key + ` DESC, c.id DESC`
	switch {
	case q.Order == Alphabetical && q.After != nil:
		id := param(q.After.ID, "BIGINT")
		cond += ` AND (` + communityName + ` COLLATE "C", c.id) > ((SELECT lower(COALESCE(n.display_name, n.name, '')) COLLATE "C"
			FROM community n WHERE n.account_id = ` + id + `), ` + id + `)`
	case q.After != nil:
		cond += ` AND (` + key + `, c.id) < (` + param(q.After.Key, "BIGINT") + `, ` + param(q.After.ID, "BIGINT") + `)`
	}
	if q.Order == Alphabetical {
		order = communityName + ` COLLATE "C", c.id`
	}
	follow, member := `0`, `false`
	if v.ID != 0 {
		follow = follows("c.id")
		member = follow + ` > 0 AND NOT ` + banHolds("$1", "c.id")
	}
	return `SELECT c.id, ` + key + `, c.did, COALESCE(c.handle, ''), COALESCE(m.name, ''), COALESCE(m.display_name, ''), COALESCE(m.avatar, ''),
		m.visibility, COALESCE(m.warnings, 0), m.created_at, COALESCE(m.hosted_by, ''), m.host_ok,
		COALESCE(t.subscribers, 0), COALESCE(t.subscribers, 0) - ` + shutOut("$2") + `, COALESCE(t.accepted, 0), ` + follow + `, ` + member + `
		FROM community m JOIN account c ON c.id = m.account_id LEFT JOIN account_tally t ON t.account_id = m.account_id
		WHERE ` + cond + ` ORDER BY ` + order + ` LIMIT ` + strconv.Itoa(q.Limit+1), args
}

// likeText makes a text match itself, in lower case, in a LIKE with the escape
// character "!".
func likeText(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(strings.TrimSpace(s)))
}
