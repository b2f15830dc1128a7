package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	alice   = "did:plc:aliceaaaaaaaaaaaaaaaaaaa"
	bob     = "did:plc:bobaaaaaaaaaaaaaaaaaaaaa"
	commons = "did:plc:commonsaaaaaaaaaaaaaaaaa"
)

func mode(t testing.TB) cbor.DecMode {
	t.Helper()
	m, err := newDecMode()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDecodeCommit(t *testing.T) {
	t.Parallel()
	m := mode(t)
	key := string(syntax.NewTIDNow(1))
	record := postRecord(commons, "héllo\x00")
	record["blob"] = atdata.Blob{Ref: atdata.CIDLink(cidOf([]byte("x"))), MimeType: "image/png", Size: 7}
	record["list"] = []any{int64(-5), true, nil, atdata.Bytes("b"), map[string]any{"link": atdata.CIDLink(cidOf([]byte("y")))}}
	f := commitFrame(9, alice, "3l2aaaaaaaa2a",
		recordOp{action: "create", path: postPath(key), record: record},
		recordOp{action: "delete", path: postPath("3l2bbbbbbbb2b")},
		recordOp{action: "create", path: "app.bsky.feed.like/" + key, record: map[string]any{"$type": "app.bsky.feed.like"}})
	e, err := decodeFrame(m, f.bytes)
	if err != nil {
		t.Fatal(err)
	}
	if e.seq != 9 || e.did != alice || e.commit == nil || e.time.IsZero() {
		t.Fatalf("event %+v", e)
	}
	ops, drops := e.commit.operations(m)
	want := []index.Op{
		{Action: index.Create, Collection: index.PostCollection, RKey: syntax.RecordKey(key),
			CID: syntax.CID(cidOf(encodeRecord(record)).String()), Record: record},
		{Action: index.Delete, Collection: index.PostCollection, RKey: "3l2bbbbbbbb2b"},
	}
	if diff := cmp.Diff(want, ops, cmp.Comparer(func(a, b atdata.CIDLink) bool { return a.String() == b.String() })); diff != "" || len(drops) > 0 {
		t.Errorf("operations (-want +got), dropped %v:\n%s", drops, diff)
	}
}

func TestDecodeOthers(t *testing.T) {
	t.Parallel()
	m := mode(t)
	off, err := decodeFrame(m, accountFrame(3, alice, false, "takendown").bytes)
	if err != nil || off.seq != 3 || off.account == nil || off.account.Status == nil ||
		off.account.Status.Active || off.account.Status.Reason != "takendown" {
		t.Errorf("account: %+v, %v", off, err)
	}
	ident, err := decodeFrame(m, identityFrame(4, alice).bytes)
	if err != nil || ident.account == nil || ident.account.Status != nil || ident.account.DID != alice {
		t.Errorf("identity: %+v, %v", ident, err)
	}
	sync := frame(5, "#sync", body{&comatproto.SyncSubscribeRepos_Sync{Seq: 5, Did: alice, Rev: "3l2aaaaaaaa2a"}})
	if e, err := decodeFrame(m, sync.bytes); err != nil || e.seq != 5 || e.account != nil || e.commit != nil || e.sync == nil {
		t.Errorf("sync: %+v, %v", e, err)
	}
	later := frame(6, "#something", body{&comatproto.SyncSubscribeRepos_Identity{Seq: 6, Did: alice}})
	if e, err := decodeFrame(m, later.bytes); err != nil || e.seq != 6 {
		t.Errorf("a type to come: %+v, %v", e, err)
	}
	var said *infoError
	if _, err := decodeFrame(m, infoFrame("OutdatedCursor").bytes); !errors.As(err, &said) || said.Name != "OutdatedCursor" || said.Final {
		t.Errorf("info: %v", err)
	}
	if _, err := decodeFrame(m, errorFrame("FutureCursor")); !errors.As(err, &said) || said.Name != "FutureCursor" || !said.Final {
		t.Errorf("error frame: %v", err)
	}
}

// TestHostileFrames holds I5 for frames: each is passed over for a stated
// reason, and keeps its place in the stream where that can be known.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	m := mode(t)
	commit := func(change func(*comatproto.SyncSubscribeRepos_Commit)) []byte {
		c := &comatproto.SyncSubscribeRepos_Commit{Seq: 9, Repo: alice, Rev: "3l2aaaaaaaa2a",
			Commit: lexutil.LexLink(cidOf(nil))}
		change(c)
		return frame(9, "#commit", body{c}).bytes
	}
	bigDID := "did:web:" + strings.Repeat("a", 2000)
	tests := []struct {
		name   string
		frame  []byte
		reason index.Reason
		seq    int64
	}{
		{"empty", nil, reasonFrame, 0},
		{"text", []byte("hello"), reasonFrame, 0},
		{"header alone", mustCBOR(map[string]any{"op": 1, "t": "#commit"}), reasonFrame, 0},
		{"unknown op", mustCBOR(map[string]any{"op": 7}), reasonFrame, 0},
		{"body of another shape", append(mustCBOR(map[string]any{"op": 1, "t": "#commit"}), mustCBOR("text")...), reasonFrame, 0},
		{"nested without end", append(mustCBOR(map[string]any{"op": 1, "t": "#commit"}), bytes.Repeat([]byte{0x81}, 1<<20)...), reasonFrame, 0},
		{"array that claims 4 GB", append(mustCBOR(map[string]any{"op": 1, "t": "#commit"}), 0x9a, 0xff, 0xff, 0xff, 0xff), reasonFrame, 0},
		{"DID of 2 KB", commit(func(c *comatproto.SyncSubscribeRepos_Commit) { c.Repo = bigDID }), index.ReasonLongDID, 9},
		{"no DID", commit(func(c *comatproto.SyncSubscribeRepos_Commit) { c.Repo = "alice" }), reasonDID, 9},
		{"account without time", frame(9, "#account", body{&comatproto.SyncSubscribeRepos_Account{Seq: 9, Did: alice}}).bytes, reasonEvent, 9},
		{"status with control characters", accountFrame(9, alice, false, "gone\x00").bytes, reasonEvent, 9},
		{"identity of 2 KB", identityFrame(9, bigDID).bytes, index.ReasonLongDID, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := decodeFrame(m, tt.frame)
			var drop *dropError
			if !errors.As(err, &drop) || drop.reason != tt.reason || e.seq != tt.seq {
				t.Errorf("got seq %d, %v; want seq %d, %s", e.seq, err, tt.seq, tt.reason)
			}
		})
	}
}

func mustCBOR(v any) []byte {
	raw, err := cbor.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// TestHostileRecords holds I5 for records: the operation stays, as malformed.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	m := mode(t)
	good := encodeRecord(postRecord(commons, "a"))
	raw := func(v any) []byte { return mustCBOR(v) }
	blob := map[string]any{"$type": "blob", "ref": "not a link", "mimeType": "image/png", "size": 1}
	tests := []struct {
		name string
		raw  []byte
		want index.Reason
	}{
		{"good", good, ""},
		{"empty", []byte{}, reasonCBOR},
		{"cut", good[:len(good)-1], reasonCBOR},
		{"trailing", append(bytes.Clone(good), 0), reasonCBOR},
		{"null", raw(nil), reasonCBOR},
		{"text", raw("text"), reasonCBOR},
		{"float", raw(map[string]any{"a": 1.5}), reasonCBOR},
		{"integer over 63 bits", raw(map[string]any{"a": uint64(1) << 63}), reasonCBOR},
		{"key is a number", raw(map[int]any{1: 1}), reasonCBOR},
		{"same key twice", []byte{0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x02}, reasonCBOR},
		{"indefinite length", []byte{0xbf, 0x61, 'a', 0x01, 0xff}, reasonCBOR},
		{"undefined", []byte{0xa1, 0x61, 'a', 0xf7}, reasonCBOR},
		{"another tag", raw(map[string]any{"a": cbor.Tag{Number: 7, Content: "x"}}), reasonCBOR},
		{"bignum", raw(map[string]any{"a": cbor.Tag{Number: 2, Content: []byte{1}}}), reasonCBOR},
		{"link to nowhere", raw(map[string]any{"a": cbor.Tag{Number: 42, Content: []byte{0, 1, 2}}}), reasonCBOR},
		{"blob without link", raw(blob), reasonCBOR},
		{"nested without end", append(bytes.Repeat([]byte{0xa1, 0x61, 'a'}, 100_000), 0x01), reasonCBOR},
		{"over 1 MiB", raw(map[string]any{"a": strings.Repeat("x", 1<<20)}), reasonCBOR},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := commitFrame(1, alice, "3l2aaaaaaaa2a", recordOp{action: "create", path: postPath("3l2bbbbbbbb2b"), raw: tt.raw})
			e, err := decodeFrame(m, f.bytes)
			if err != nil {
				t.Fatal(err)
			}
			ops, drops := e.commit.operations(m)
			if len(ops) != 1 || len(drops) != 0 || ops[0].Malformed != tt.want {
				t.Errorf("got %+v, dropped %v; want %q", ops, drops, tt.want)
			}
		})
	}
}

func TestHostileCommits(t *testing.T) {
	t.Parallel()
	m := mode(t)
	good := encodeRecord(postRecord(commons, "a"))
	link := link{cidOf(good)}
	path := postPath("3l2bbbbbbbb2b")
	forged := car(good)
	forged[len(forged)-1] ^= 1
	tests := []struct {
		name      string
		op        opBody
		blocks    []byte
		malformed index.Reason
		drop      index.Reason
	}{
		{"good", opBody{Action: "create", Path: path, CID: &link}, car(good), "", ""},
		{"block changed", opBody{Action: "create", Path: path, CID: &link}, forged, reasonBlocks, ""},
		{"block missing", opBody{Action: "create", Path: path, CID: &link}, car(), reasonBlocks, ""},
		{"no blocks", opBody{Action: "create", Path: path, CID: &link}, nil, reasonBlocks, ""},
		{"blocks cut", opBody{Action: "create", Path: path, CID: &link}, car(good)[:80], reasonBlocks, ""},
		{"section that claims 4 GB", opBody{Action: "create", Path: path, CID: &link}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, reasonBlocks, ""},
		{"no CID", opBody{Action: "create", Path: path, CID: nil}, car(good), index.ReasonCID, ""},
		{"unknown action", opBody{Action: "rename", Path: path, CID: &link}, car(good), "", reasonPath},
		{"no key", opBody{Action: "create", Path: postPath(""), CID: &link}, car(good), "", reasonPath},
		{"key with a slash", opBody{Action: "create", Path: path + "/x", CID: &link}, car(good), "", reasonPath},
		{"key with U+0000", opBody{Action: "create", Path: path + "\x00", CID: &link}, car(good), "", reasonPath},
		{"key of 2 KB", opBody{Action: "create", Path: postPath(strings.Repeat("a", 2000)), CID: &link}, car(good), "", index.ReasonLongKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ops, drops := (&commitBody{Ops: []opBody{tt.op}, Blocks: tt.blocks}).operations(m)
			switch {
			case tt.drop != "" && (len(drops) != 1 || drops[0].Reason != tt.drop || len(ops) != 0):
				t.Errorf("got %+v, dropped %v; want dropped for %s", ops, drops, tt.drop)
			case tt.drop == "" && (len(drops) != 0 || len(ops) != 1 || ops[0].Malformed != tt.malformed):
				t.Errorf("got %+v, dropped %v; want malformed %q", ops, drops, tt.malformed)
			}
		})
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(commitFrame(9, alice, "3l2aaaaaaaa2a", recordOp{action: "create", path: postPath("3l2bbbbbbbb2b"), record: postRecord(commons, "a")}).bytes)
	f.Add(accountFrame(1, alice, false, "deleted").bytes)
	f.Add(identityFrame(2, alice).bytes)
	f.Add(infoFrame("OutdatedCursor").bytes)
	f.Add(errorFrame("FutureCursor"))
	m := mode(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		e, err := decodeFrame(m, frame)
		if err != nil || e.commit == nil {
			return
		}
		ops, _ := e.commit.operations(m)
		for _, op := range ops {
			if op.Action != index.Delete && op.Malformed == "" && (op.Record == nil || op.CID == "") {
				t.Errorf("neither a record nor malformed: %+v", op)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(postRecord(commons, "a")))
	m := mode(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		record, err := decodeRecord(m, raw)
		if err != nil {
			return
		}
		// What is accepted is of the data model: it can be written again.
		if _, err := atdata.MarshalCBOR(record); err != nil {
			t.Errorf("%s decodes to what cannot be written: %v", fmt.Sprintf("%x", raw), err)
		}
	})
}
