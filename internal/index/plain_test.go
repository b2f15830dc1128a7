package index

import (
	"fmt"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/lexicons"
)

// generalVote reads a vote as every other record is read.
func generalVote(catalog lexicon.Catalog, raw []byte) (value, error) {
	record, err := atdata.UnmarshalJSON(raw)
	if err != nil {
		return nil, err
	}
	if err := checkText(record, 0); err != nil {
		return nil, err
	}
	if err := lexicon.ValidateRecord(catalog, record, string(VoteCollection), 0); err != nil {
		return nil, err
	}
	v, err := readVote(input{record: record})
	if err != nil {
		return nil, err
	}
	for _, did := range v.refs() {
		if did != "" && (len(did) > MaxDIDBytes || !accountMethod(did)) {
			return nil, fmt.Errorf("names %s", did)
		}
	}
	return v, nil
}

// sameVote fails when the short way accepts what the long one refuses, or
// reads something else.
func sameVote(t interface{ Errorf(string, ...any) }, catalog lexicon.Catalog, raw []byte) (accepted bool) {
	p, ok := ReadPlain(string(VoteCollection), raw)
	if !ok {
		return false
	}
	want, err := generalVote(catalog, raw)
	if err != nil {
		t.Errorf("%s is accepted, although: %v", raw, err)
	} else if diff := cmp.Diff(want, p.value, cmp.AllowUnexported(stand{}, target{})); diff != "" {
		t.Errorf("%s is read differently (-the long way +the short):\n%s", raw, diff)
	}
	return true
}

func voteCatalog(t testing.TB) lexicon.Catalog {
	t.Helper()
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	return catalog
}

const plainVote = `{"$type":"social.coves.feed.vote","subject":{"uri":"at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3l2aaaaaaaa2a",` +
	`"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},"direction":"up","createdAt":"2026-03-01T11:00:00.000Z"}`

func FuzzPlainVote(f *testing.F) {
	catalog := voteCatalog(f)
	f.Add([]byte(plainVote))
	f.Fuzz(func(t *testing.T, raw []byte) { sameVote(t, catalog, raw) })
}

// TestPlainVotes holds that votes read the short way are those that are read
// the long way, over variations of every field, and that what programs write
// is read the short way.
func TestPlainVotes(t *testing.T) {
	t.Parallel()
	catalog := voteCatalog(t)
	if !sameVote(t, catalog, []byte(plainVote)) {
		t.Error("an ordinary vote is not read the short way")
	}
	var plain int
	rapid.Check(t, func(rt *rapid.T) {
		for range 50 {
			if sameVote(rt, catalog, []byte(drawVote(rt))) {
				plain++
			}
		}
	})
	if plain == 0 {
		t.Error("none was read the short way")
	}
}

// drawVote draws a vote of which some fields are odd, missing, doubled or
// something else.
func drawVote(rt *rapid.T) string {
	pick := func(name string, usual string, odd ...string) string {
		if rapid.IntRange(0, 3).Draw(rt, name+" is odd") > 0 {
			return usual
		}
		return rapid.SampledFrom(odd).Draw(rt, name)
	}
	did := pick("did", "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "did:web:example.com", "did:web:", "did:key:abc", "DID:plc:a", "did:plc:a b",
		"alice.example.com", "", "did:plc:é", "did:web:a%zz", "did:plc:")
	collection := pick("collection", string(PostCollection), string(CommentCollection), string(LegacyPostCollection), string(VoteCollection), "x", "")
	key := pick("key", "3l2aaaaaaaa2a", "self", "zl2aaaaaaaa2a", "3l2aaaaaaaa1a", "3L2AAAAAAAA2A", "3l2aaaaaaaa2a/x", "", "3l2aaaaaaaa2a#x")
	uri := pick("uri", `"at://`+did+`/`+collection+`/`+key+`"`, `"at:\/\/x"`, `7`, `null`, `"https://`+did+`"`)
	cid := pick("cid", `"`+string(someCID)+`"`, `""`, `"Qmbaaaaaaaaa"`, `"abcdefg"`, `"abcdefgh"`, `"abc def gh"`, `"abc-defgh"`, `{}`)
	subject := pick("subject", `{"uri":`+uri+`,"cid":`+cid+`}`, `{"cid":`+cid+`}`, `{"uri":`+uri+`,"cid":`+cid+`,"$type":"com.atproto.repo.strongRef"}`,
		`{"uri":`+uri+`,"uri":`+uri+`,"cid":`+cid+`}`, `"x"`, `null`, `[]`)
	at := pick("time", "2026-03-01T11:00:00.000Z", "2026-03-01T11:00:00Z", "2026-02-29T11:00:00Z", "2026-02-28T23:59:59.123456789Z", "2026-13-01T11:00:00Z",
		"2026-00-10T11:00:00Z", "2026-03-00T11:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T11:60:00Z", "2026-03-01T11:00:60Z", "0000-03-01T11:00:00Z",
		"0100-03-01T11:00:00Z", "2026-03-01T11:00:00.Z", "2026-03-01T11:00:00,5Z", "2026-03-01T11:00:00+01:00", "2026-03-01T11:00:00-00:00",
		"2026-03-01t11:00:00z", "2026-03-01 11:00:00Z", "2026-03-01T11:00:00", "soon", "", "2026-03-01T11:00:00.0000000000Z")
	fields := []string{`"$type":` + pick("type", `"social.coves.feed.vote"`, `"social.coves.feed.vot"`, `""`, `1`), `"subject":` + subject,
		`"direction":` + pick("direction", `"up"`, `"down"`, `"sideways"`, `"Up"`, `"u\u0070"`, `true`, `""`), `"createdAt":"` + at + `"`}
	if rapid.IntRange(0, 9).Draw(rt, "a field more or less") == 0 {
		fields = append(fields, rapid.SampledFrom([]string{`"note":"x"`, `"note":"\u0000"`, `"direction":"down"`, `"Direction":"down"`, `"subject":null`}).Draw(rt, "more"))
		fields = fields[rapid.IntRange(0, 1).Draw(rt, "less"):]
	}
	out := ""
	for i, f := range rapid.Permutation(fields).Draw(rt, "order") {
		out += []string{", ", ""}[b2i(i == 0)] + f
	}
	return "{" + out + "}" + pick("end", "", " ", "x", "}")
}

// TestPlainSyntax holds that identifiers and times are judged as the SDK does.
func TestPlainSyntax(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		for range 50 {
			key := rapid.StringMatching(`[1-8a-kz`+"`"+`{A]?[1-8a-z]{11,13}`).Draw(rt, "TID")
			if _, err := syntax.ParseTID(key); isTID(syntax.RecordKey(key)) != (err == nil) {
				rt.Errorf("TID %q: the SDK says %v", key, err)
			}
			cid := rapid.StringMatching(`(Qm[ab])?[a-zA-Z0-9+=]{5,12}[-@[`+"`"+`{/:,a]?`).Draw(rt, "CID")
			if _, err := syntax.ParseCID(cid); isCID(cid) != (err == nil) {
				rt.Errorf("CID %q: the SDK says %v", cid, err)
			}
			at := rapid.StringMatching(`[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,11})?[Zz]`).Draw(rt, "time")
			if _, err := syntax.ParseDatetime(at); isPlainTime([]byte(at)) && err != nil {
				rt.Errorf("time %q: the SDK says %v", at, err)
			}
		}
	})
}

// TestPlainIsPrepared holds that a record read the short way becomes the same
// change, and that its key and CID are judged all the same.
func TestPlainIsPrepared(t *testing.T) {
	t.Parallel()
	x := newIndex(t, storetest.New(t, store.SQLite))
	p, ok := ReadPlain(string(VoteCollection), []byte(plainVote))
	record, err := atdata.UnmarshalJSON([]byte(plainVote))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, tt := range []struct {
		key syntax.RecordKey
		cid syntax.CID
	}{{rkey(1), someCID}, {"self", someCID}, {rkey(1), ""}} {
		op := Op{Action: Create, Collection: VoteCollection, RKey: tt.key, CID: tt.cid, Record: record}
		want, wantDrops := x.Prepare(bob, tid(1), []Op{op})
		op.Record, op.Plain = nil, p
		got, drops := x.Prepare(bob, tid(1), []Op{op})
		if a, b := describe(want, wantDrops), describe(got, drops); a != b {
			t.Errorf("%s, %q: prepared as %s, want %s", tt.key, tt.cid, b, a)
		}
	}
	if _, ok := ReadPlain(string(PostCollection), []byte(plainVote)); ok {
		t.Error("a vote is read as a post")
	}
}

// describe is what a commit does and drops.
func describe(c Commit, drops []Drop) string {
	out := ""
	for _, ch := range c.changes {
		out += fmt.Sprintln(ch.kind.nsid, ch.did, ch.rkey, ch.rev, ch.edited, ch.cid, ch.value)
	}
	for _, d := range drops {
		out += fmt.Sprintln(d.Collection, d.RKey, d.Reason)
	}
	return out
}
