package xrpc

import "github.com/bluesky-social/indigo/atproto/syntax"

// proof is a way to prove who asks (A9).
type proof uint8

// The proofs.
const (
	byCookie  proof = 1 << iota // device cookie, with same-origin proof
	byApp                       // access token of an app that the member has signed in
	byService                   // token that the member's server has signed for this one call
	byKey                       // key of an aggregator
)

const (
	byMember  = byCookie | byApp | byService
	byAnybody = byMember | byKey
)

// mePath is what takes proof and is no method of a lexicon, with what is below it.
const mePath = "api/me"

// accepted is the table of what each route takes. A new one has a line here; a
// test compares it with all(). What is not here takes byCookie and byApp. Nothing
// else names who asks: no header, no field.
var accepted = map[syntax.NSID]proof{
	mePath: byCookie | byApp,

	"social.coves.feed.getDiscover":                byMember,
	"social.coves.actor.blockUser":                 byMember,
	"social.coves.actor.unblockUser":               byMember,
	"social.coves.actor.getBlockedUsers":           byMember,
	"social.coves.community.subscribe":             byMember,
	"social.coves.community.unsubscribe":           byMember,
	"social.coves.community.blockCommunity":        byMember,
	"social.coves.community.unblockCommunity":      byMember,
	"social.coves.community.getBlockedCommunities": byMember,
	"social.coves.community.create":                byMember,
	"social.coves.community.update":                byMember,
	"social.coves.community.post.getStatus":        byMember,
	"social.coves.feed.getAll":                     byMember,
	"social.coves.feed.getTimeline":                byMember,
	"social.coves.communityFeed.getCommunity":      byMember,
	"social.coves.feed.getCommunity":               byMember,
	"social.coves.actor.getProfile":                byMember,
	"social.coves.actor.getPosts":                  byMember,
	"social.coves.actor.getComments":               byMember,
	"social.coves.community.get":                   byMember,
	"social.coves.community.list":                  byMember,
	"social.coves.community.search":                byMember,
	"social.coves.community.post.get":              byMember,
	"social.coves.community.comment.getComments":   byMember,
	"social.coves.community.post.create":           byAnybody,
	"social.coves.community.post.update":           byMember,
	"social.coves.community.post.delete":           byMember,
	"social.coves.community.comment.create":        byMember,
	"social.coves.community.comment.update":        byMember,
	"social.coves.community.comment.delete":        byMember,
	"social.coves.feed.vote.create":                byMember,
	"social.coves.feed.vote.delete":                byMember,
	"social.coves.actor.updateProfile":             byMember,
	uploadImageMethod:                              byMember,

	"social.coves.aggregator.register":          byMember,
	"social.coves.aggregator.createApiKey":      byMember,
	"social.coves.aggregator.getApiKey":         byMember,
	"social.coves.aggregator.revokeApiKey":      byMember,
	"social.coves.aggregator.getServices":       byAnybody,
	"social.coves.aggregator.getAuthorizations": byAnybody,
	"social.coves.aggregator.listForCommunity":  byAnybody,
}

// takes are the proofs that a route accepts.
func (m method) takes() proof {
	name := m.nsid
	if name == "" {
		name = mePath
	}
	if p, ok := accepted[name]; ok {
		return p
	}
	return byCookie | byApp
}
