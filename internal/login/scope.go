package login

import "strings"

// Scope is what members are asked for: who they are, and to write the records
// that Atoll writes for them. Nothing else, and nothing for later; a record
// type that Atoll begins to write gets a line here.
func Scope() string {
	return strings.Join([]string{
		"atproto",
		"repo:social.coves.community.postv2",
		"repo:social.coves.community.comment",
		"repo:social.coves.feed.vote?action=create&action=delete",
		"repo:social.coves.actor.profile?action=create&action=update",
		"repo:social.coves.community.subscription",
		"repo:social.coves.community.block",
		"repo:social.coves.actor.block",
		"blob:image/*",
	}, " ")
}
