package ingest

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atoll-social/atoll/internal/index"
)

const flatVote = `{"did":"did:plc:aliceaaaaaaaaaaaaaaaaaaa","time_us":1772362800000000,"kind":"commit","commit":{"rev":"3l2aaaaaaaa2a",` +
	`"operation":"create","collection":"social.coves.feed.vote","rkey":"3l2aaaaaaaa2a","record":{"$type":"social.coves.feed.vote",` +
	`"subject":{"uri":"at://did:plc:bobaaaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3l2aaaaaaaa2a",` +
	`"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},"direction":"up","createdAt":"2026-03-01T11:00:00.000Z"},` +
	`"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}}`

// sameFrame fails when the short way reads a frame that the long way does not
// read, or reads it differently.
func sameFrame(t *testing.T, frame []byte) (short bool) {
	t.Helper()
	got, ok := readFlat(frame)
	if !ok {
		return false
	}
	var want flatFrame
	if err := json.Unmarshal(frame, &want); err != nil || !utf8.Valid(frame) {
		t.Errorf("%s is read, although: %v", frame, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(flatCommit{})); diff != "" {
		t.Errorf("%s is read differently (-the long way +the short):\n%s", frame, diff)
	}
	return true
}

func FuzzFlat(f *testing.F) {
	f.Add([]byte(flatVote))
	f.Fuzz(func(t *testing.T, frame []byte) { sameFrame(t, frame) })
}

// TestFlat holds what is read the short way: commits as hosts write them.
func TestFlat(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		frame string
		short bool
	}{
		"a vote":               {flatVote, true},
		"a record of any sort": {`{"kind":"commit","commit":{"rkey":"self","record":{"title":"\u00e9é","n":[1.5,null]}},"time_us":5,"did":"did:web:x"}`, true},
		"a delete":             {` {"did":"did:plc:a", "kind":"commit", "commit":{"operation":"delete"} } `, true},
		"no record":            {`{"kind":"commit","commit":{"record":null}}`, true},
		"an identity":          {`{"did":"did:plc:a","kind":"identity","identity":{}}`, false},
		"a key in capitals":    {`{"DID":"did:plc:a","kind":"commit","commit":{}}`, false},
		"a key twice":          {`{"did":"did:plc:a","did":"did:plc:b","kind":"commit","commit":{}}`, false},
		"a commit twice":       {`{"kind":"commit","commit":{"rev":"a"},"commit":{}}`, false},
		"a time twice":         {`{"kind":"commit","commit":{},"time_us":1,"time_us":2}`, false},
		"a record twice":       {`{"kind":"commit","commit":{"record":1,"record":2}}`, false},
		"no kind":              {`{"commit":{}}`, false},
		"no commit":            {`{"kind":"commit"}`, false},
		"bad UTF-8":            {"{\"kind\":\"commit\",\"commit\":{\"record\":\"\xff\"}}", false},
		"an escape":            {`{"kind":"c\u006fmmit","commit":{}}`, false},
		"more after it":        {`{"kind":"commit","commit":{}}{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameFrame(t, []byte(tt.frame)); got != tt.short {
				t.Errorf("read the short way: %v, want %v", got, tt.short)
			}
		})
	}
}

// TestPlainLetter holds that a record that was read the short way is not lost
// in a dead letter.
func TestPlainLetter(t *testing.T) {
	t.Parallel()
	frame, ok := readFlat([]byte(flatVote))
	if !ok {
		t.Fatal("an ordinary vote is not read the short way")
	}
	op, drop := frame.Commit.operation()
	if drop != nil || op.Plain == nil || op.Record != nil {
		t.Fatalf("operation %+v, dropped: %v", op, drop)
	}
	payload, err := encodeLetter(unit{did: alice, rev: "3l2aaaaaaaa2a", ops: []index.Op{op}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := decodeLetter(payload)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"$type": "social.coves.feed.vote", "direction": "up", "createdAt": "2026-03-01T11:00:00.000Z", "subject": map[string]any{
		"uri": "at://did:plc:bobaaaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3l2aaaaaaaa2a",
		"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}}
	if diff := cmp.Diff(want, u.ops[0].Record); diff != "" {
		t.Errorf("the record in the letter (-want +got):\n%s", diff)
	}
}
