package index

import (
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	plainPostRef = `{"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",` +
		`"uri":"at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3l2aaaaaaaa2a"}`
	plainCommentRef = `{"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",` +
		`"uri":"at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/social.coves.community.comment/3l2aaaaaaaa2a"}`
	plainComment = `{"$type":"social.coves.community.comment","content":"some words","createdAt":"2026-03-01T11:00:00.000Z",` +
		`"reply":{"parent":` + plainCommentRef + `,"root":` + plainPostRef + `}}`
	plainSubscription = `{"$type":"social.coves.community.subscription","createdAt":"2026-03-01T11:00:00.000Z","subject":"did:plc:aliceaaaaaaaaaaaaaaaaaaa"}`
)

// sameRecord fails when the short way accepts a record that the long one
// refuses, or reads something else.
func sameRecord(t interface{ Errorf(string, ...any) }, x *Index, collection syntax.NSID, raw []byte) (accepted bool) {
	p, ok := ReadPlain(string(collection), raw)
	if !ok {
		return false
	}
	k, _ := kindOf(collection)
	op := Op{Action: Create, Collection: collection, RKey: "3l2aaaaaaaa2a", CID: someCID, Plain: p}
	for _, author := range []syntax.DID{bob, "did:plc:aliceaaaaaaaaaaaaaaaaaaa"} {
		op.Plain, op.Record = p, nil
		got, reason, _ := x.read(k, author, op)
		record, err := atdata.UnmarshalJSON(raw)
		if err != nil {
			t.Errorf("%s is accepted, although: %v", raw, err)
			return true
		}
		op.Plain, op.Record = nil, record
		want, wantReason, err := x.read(k, author, op)
		if reason != wantReason {
			t.Errorf("%s by %s: the short way gives the reason %q, the long one %q (%v)", raw, author, reason, wantReason, err)
		} else if diff := cmp.Diff(want, got, cmp.AllowUnexported(stand{}, target{}, commentValue{})); diff != "" {
			t.Errorf("%s is read differently (-the long way +the short):\n%s", raw, diff)
		}
	}
	return true
}

func FuzzPlainComment(f *testing.F) {
	x := &Index{catalog: voteCatalog(f)}
	f.Add([]byte(plainComment))
	f.Fuzz(func(t *testing.T, raw []byte) { sameRecord(t, x, CommentCollection, raw) })
}

func FuzzPlainSubscription(f *testing.F) {
	x := &Index{catalog: voteCatalog(f)}
	f.Add([]byte(plainSubscription))
	f.Fuzz(func(t *testing.T, raw []byte) { sameRecord(t, x, SubscriptionCollection, raw) })
}

// TestPlainRecords holds that comments and subscriptions read the short way are
// those that are read the long way, kept byte for byte as the long way keeps
// them, and that what programs write is read the short way.
func TestPlainRecords(t *testing.T) {
	t.Parallel()
	x := &Index{catalog: voteCatalog(t)}
	for collection, usual := range map[syntax.NSID]string{CommentCollection: plainComment, SubscriptionCollection: plainSubscription} {
		if !sameRecord(t, x, collection, []byte(usual)) {
			t.Errorf("an ordinary %s is not read the short way", collection)
		}
		if _, ok := ReadPlain(string(VoteCollection), []byte(usual)); ok {
			t.Errorf("a %s is read as a vote", collection)
		}
	}
	var plain int
	rapid.Check(t, func(rt *rapid.T) {
		for range 30 {
			if sameRecord(rt, x, CommentCollection, []byte(drawComment(rt))) {
				plain++
			}
			if sameRecord(rt, x, SubscriptionCollection, []byte(drawSubscription(rt))) {
				plain++
			}
		}
	})
	if plain == 0 {
		t.Error("none was read the short way")
	}
}

// oddly draws what is usual, most of the time.
func oddly(rt *rapid.T, name, usual string, odd ...string) string {
	if rapid.IntRange(0, 5).Draw(rt, name+" is odd") > 0 {
		return usual
	}
	return rapid.SampledFrom(odd).Draw(rt, name)
}

// drawRecord joins fields, sometimes one more, less, twice, or out of order.
func drawRecord(rt *rapid.T, fields []string) string {
	if rapid.IntRange(0, 5).Draw(rt, "fields are odd") == 0 {
		fields = append(fields, rapid.SampledFrom([]string{fields[0], `"langs":["en"]`, `"z":"x"`, `"content":"twice"`, `"endedAt":"2026-03-01T11:00:00.000Z"`,
			`"reply":{}`, `"a":"\u0000"`, `"contentVisibility":9`}).Draw(rt, "more"))
		fields = rapid.Permutation(fields).Draw(rt, "order")[rapid.IntRange(0, 1).Draw(rt, "less"):]
	}
	return oddly(rt, "begin", "{", "{ ", " {", "[{") + strings.Join(fields, oddly(rt, "comma", ",", ", ", ",,")) + oddly(rt, "end", "}", "} ", "}}", "}x", "")
}

func drawTime(rt *rapid.T) string {
	return `"createdAt":` + oddly(rt, "time", `"2026-03-01T11:00:00.000Z"`, `"2026-03-01T11:00:00Z"`, `"2026-02-28T23:59:59.123456789Z"`,
		`"2026-13-01T11:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-28T23:59:59.999999999Z"`, `"0000-03-01T11:00:00Z"`, `"soon"`, `7`)
}

func drawComment(rt *rapid.T) string {
	post, answered := plainPostRef, plainCommentRef
	swapped := strings.Replace(post, `{"cid"`, `{"uri":"x","cid"`, 1)
	root := oddly(rt, "root", post, answered, swapped, strings.ReplaceAll(post, ",", ", "), strings.Replace(post, "postv2", "post", 1),
		strings.Replace(post, "did:plc:alice", "did:key:alice", 1), `null`, `{"uri":"at://x"}`)
	parent := oddly(rt, "parent", rapid.SampledFrom([]string{post, answered}).Draw(rt, "which parent"), swapped,
		strings.Replace(post, "2a\"}", "2b\"}", 1), strings.Replace(post, "postv2", "post", 1), `{}`)
	content := oddly(rt, "content", `"some words"`, `""`, `"é"`, `"a\nb"`, `"<b> & \""`, `"a<b>&c"`, `"`+strings.Repeat("x", 3000)+`"`,
		`"`+strings.Repeat("x", 3001)+`"`, `7`, "\"a\x7fb\"", `"a\/b"`)
	reply := []string{`"parent":` + parent, `"root":` + root}
	if rapid.IntRange(0, 9).Draw(rt, "reply in another order") == 0 {
		reply[0], reply[1] = reply[1], reply[0]
	}
	return drawRecord(rt, []string{`"$type":` + oddly(rt, "type", `"social.coves.community.comment"`, `"x"`, `""`), `"content":` + content,
		drawTime(rt), `"reply":{` + strings.Join(reply, ",") + `}`})
}

func drawSubscription(rt *rapid.T) string {
	fields := []string{`"$type":` + oddly(rt, "type", `"social.coves.community.subscription"`, `"x"`), drawTime(rt), `"subject":` +
		oddly(rt, "subject", `"did:plc:aliceaaaaaaaaaaaaaaaaaaa"`, `"did:web:example.com"`, `"did:web:`+strings.Repeat("a", 250)+`"`, `"did:key:abc"`,
			`"did:plc:"`, `"alice.example.com"`, `""`, `7`)}
	if n := oddly(rt, "visibility", "", "0", "1", "5", "6", "-7", "2.5", "1e1", "00", `"3"`, "999999999999999999", "9999999999999999999"); n != "" {
		fields = append(fields, `"contentVisibility":`+n)
	}
	return drawRecord(rt, fields)
}
