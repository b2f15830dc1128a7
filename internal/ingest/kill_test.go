package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// childEnv makes this test binary an ingester of its own, to be killed.
const childEnv = "INGEST_CHILD"

// child is what the ingester is told.
type child struct {
	Store store.Config
	URL   string
	Lease time.Duration
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	db, err := store.Open(context.Background(), c.Store)
	if err != nil {
		return err
	}
	limits := quick()
	limits.Lease = c.Lease
	r, err := newRigOf(db, limits, nil, []Source{{Kind: Repos, URL: c.URL}})
	if err != nil {
		return err
	}
	return r.Run(context.Background())
}

// history draws what a few repositories do, commit by commit, and what is left
// of it in the end.
func history(commits int) (frames []sent, left map[string]string) {
	return historyIn(newWorld(), commits)
}

func historyIn(w *world, commits int) (frames []sent, left map[string]string) {
	left = map[string]string{}
	rng := rand.New(rand.NewPCG(7, 9))
	for seq := 1; seq <= commits; seq++ {
		did := fmt.Sprintf("did:plc:author%d", rng.IntN(20))
		var ops []recordOp
		for range 1 + rng.IntN(3) {
			k := key(rng.IntN(30))
			name := did + "/" + k
			op := recordOp{path: postPath(k), action: "create"}
			if _, there := left[name]; there {
				op.action = []string{"update", "delete"}[rng.IntN(2)]
			}
			if op.action == "delete" {
				delete(left, name)
			} else {
				title := fmt.Sprintf("%d of %s", seq, did)
				op.record = postRecord(commons, title)
				left[name] = title
			}
			ops = append(ops, op)
		}
		frames = append(frames, w.commit(int64(seq), did, rev(1000+seq), ops...))
	}
	return frames, left
}

// TestKill holds I2: the ingester is killed with -9 again and again while the
// stream goes on, and the index ends as the repositories do, with a cursor
// that never ran ahead of the rows.
func TestKill(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		h := newHost(t)
		kills := size.Size(4, 100)
		frames, left := history(200 * kills)
		db := storetest.Open(t, cfg)
		for k := range kills {
			process := spawn(t, child{Store: cfg, URL: h.server.URL, Lease: quick().Lease})
			for i := range 10 { // the stream goes on while it works
				h.emit(frames[200*k+20*i : 200*k+20*(i+1)]...)
				pause(t, time.Duration(rand.IntN(8))*time.Millisecond)
			}
			if k%3 == 0 { // let it come to the middle of its work at times
				before := storedCursor(t, db)
				await(t, "progress", func() bool { return storedCursor(t, db) > before })
			}
			kill(t, process)
			checkPrefix(t, db, frames)
		}
		process := spawn(t, child{Store: cfg, URL: h.server.URL, Lease: quick().Lease})
		await(t, "the end of the stream", func() bool { return storedCursor(t, db) == int64(len(frames)) })
		kill(t, process)
		got, err := titles(db)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(left, got); diff != "" {
			t.Errorf("posts after %d kills (-model +index):\n%s", kills, diff)
		}
	})
}

// checkPrefix compares what is stored with the events up to the stored cursor:
// none of them is missing, none beyond is there.
func checkPrefix(t *testing.T, db *store.DB, frames []sent) {
	t.Helper()
	at, got := storedRows(t, db)
	last := map[string]int64{} // the greatest revision of every record
	m := mode(t)
	for _, f := range frames[:at] {
		e, err := decodeFrame(m, f.bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range e.commit.Ops {
			_, k, _ := cutPath(op.Path)
			last[e.did.String()+"/"+k] = int64(syntax.TID(e.commit.Rev).Integer())
		}
	}
	if diff := cmp.Diff(last, got); diff != "" {
		t.Fatalf("rows at cursor %d (-events +rows):\n%s", at, diff)
	}
}

// storedRows reads the cursor and the revision of every post at one moment:
// PostgreSQL may still be committing what a killed process has sent.
func storedRows(t *testing.T, db *store.DB) (at int64, revs map[string]int64) {
	t.Helper()
	rows, err := db.Read().QueryContext(t.Context(), `
		SELECT s.cursor, COALESCE(a.did, ''), COALESCE(p.rkey, ''), COALESCE(p.rev, 0)
		FROM (SELECT COALESCE(max(cursor), 0) AS cursor FROM ingest_source) s
		LEFT JOIN (post p JOIN account a ON a.id = p.author_id) ON true`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	revs = map[string]int64{}
	for rows.Next() {
		var did, k string
		var r int64
		if err := rows.Scan(&at, &did, &k, &r); err != nil {
			t.Fatal(err)
		}
		if did != "" {
			revs[did+"/"+k] = r
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return at, revs
}

func cutPath(path string) (collection, key string, ok bool) {
	n := len(index.PostCollection)
	return path[:n], path[n+1:], true
}

func storedCursor(t *testing.T, db *store.DB) int64 {
	t.Helper()
	var at int64
	err := db.Read().QueryRowContext(t.Context(), `SELECT COALESCE(max(cursor), 0) FROM ingest_source`).Scan(&at)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func spawn(t *testing.T, c child) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatalf("the ingester was gone already: %v", err)
	}
	_ = cmd.Wait()
}

// pause spaces events, as real ones are.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
