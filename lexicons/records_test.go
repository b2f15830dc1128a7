package lexicons_test

import (
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/lexicon"

	"github.com/atoll-social/atoll/lexicons"
)

// samples are one well-formed record of each type, with every required field.
func samples() map[string]map[string]any {
	const did, when = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "2026-01-02T03:04:05.678Z"
	strong := func() map[string]any {
		return map[string]any{
			"uri": "at://" + did + "/social.coves.community.postv2/3lziw7hgsmk2h",
			"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
		}
	}
	out := map[string]map[string]any{
		"social.coves.actor.profile":        {},
		"social.coves.actor.block":          {"subject": did},
		"social.coves.community.profile":    {"name": "gardens", "createdBy": did, "hostedBy": "did:web:example.com"},
		"social.coves.community.postv2":     {"community": did},
		"social.coves.community.acceptance": {"subject": strong()},
		"social.coves.community.removal":    {"subject": strong(), "code": "spam"},
		"social.coves.community.comment": {"content": "yes",
			"reply": map[string]any{"root": strong(), "parent": strong()}},
		"social.coves.community.subscription":   {"subject": did},
		"social.coves.community.block":          {"subject": did},
		"social.coves.community.moderator":      {"user": did, "community": did, "role": "admin", "createdBy": did},
		"social.coves.community.rules":          {},
		"social.coves.feed.vote":                {"subject": strong(), "direction": "up"},
		"social.coves.moderation.ban":           {"community": did, "subject": did, "banType": "moderator", "reason": "spam"},
		"social.coves.aggregator.service":       {"did": did, "displayName": "News"},
		"social.coves.aggregator.authorization": {"aggregatorDid": did, "communityDid": did, "enabled": true, "createdBy": did},
	}
	for nsid, record := range out {
		record["$type"], record["createdAt"] = nsid, when
	}
	return out
}

// TestEveryRecordType holds that the least of each record type passes and that
// each of its required fields is asked for.
func TestEveryRecordType(t *testing.T) {
	t.Parallel()
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	for nsid, record := range samples() {
		if err := lexicon.ValidateRecord(catalog, record, nsid, 0); err != nil {
			t.Errorf("%s: %v", nsid, err)
		}
		for field := range record {
			without := map[string]any{}
			for k, v := range record {
				if k != field {
					without[k] = v
				}
			}
			err := lexicon.ValidateRecord(catalog, without, nsid, 0)
			if optional := nsid == "social.coves.community.rules" && field == "createdAt"; (err == nil) != optional {
				t.Errorf("%s without %s: got %v", nsid, field, err)
			}
		}
	}
}

func TestRecordLimits(t *testing.T) {
	t.Parallel()
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("é", n) }
	tests := []struct {
		nsid, field string
		value       any
		ok          bool
	}{
		{"social.coves.actor.profile", "displayName", long(64), true},
		{"social.coves.actor.profile", "displayName", long(65), false},
		{"social.coves.actor.profile", "bio", long(256), true},
		{"social.coves.actor.profile", "bio", long(257), false},
		{"social.coves.actor.block", "subject", "alice.example.com", false},
		{"social.coves.community.profile", "name", strings.Repeat("x", 65), false},
		{"social.coves.community.profile", "visibility", "something else", true},
		{"social.coves.community.removal", "code", "a word of later", true},
		{"social.coves.community.removal", "code", strings.Repeat("x", 65), false},
		{"social.coves.community.removal", "reason", long(1001), false},
		{"social.coves.community.comment", "content", long(3000), true},
		{"social.coves.community.comment", "content", long(3001), false},
		{"social.coves.community.subscription", "contentVisibility", int64(99), true},
		{"social.coves.community.subscription", "contentVisibility", "3", false},
		{"social.coves.community.moderator", "note", strings.Repeat("x", 301), false},
		{"social.coves.feed.vote", "direction", "sideways", false},
		{"social.coves.moderation.ban", "reason", strings.Repeat("x", 2001), false},
		{"social.coves.aggregator.service", "description", long(301), false},
		{"social.coves.aggregator.authorization", "enabled", "yes", false},
	}
	for _, tt := range tests {
		record := samples()[tt.nsid]
		record[tt.field] = tt.value
		if err := lexicon.ValidateRecord(catalog, record, tt.nsid, 0); (err == nil) != tt.ok {
			t.Errorf("%s with %s %.20q: got %v, want ok %v", tt.nsid, tt.field, tt.value, err, tt.ok)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := `{"lexicon": 1, "id": "org.example.thing", "defs": {"main": {"type": "record", "key": "tid",
		"record": {"type": "object", "properties": {"text": {"type": "string"}}}}}}`
	if err := lexicons.Check([]byte(good)); err != nil {
		t.Errorf("a good file: %v", err)
	}
	for _, bad := range []string{
		``, `[]`, strings.Replace(good, `"tid"`, `"whatever"`, 1), strings.Replace(good, `"lexicon": 1`, `"lexicon": 2`, 1),
		strings.Replace(good, `"type": "string"`, `"type": "strings"`, 1), strings.Replace(good, `org.example.thing`, `thing`, 1),
	} {
		if err := lexicons.Check([]byte(bad)); err == nil {
			t.Errorf("no objection to %s", bad)
		}
	}
}
