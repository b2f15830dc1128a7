// Package community is what members and moderators do with communities: finding
// them by name, creating and changing them, following and blocking, and who and
// what is admitted.
package community
