package job

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// childEnv makes this test binary a process with a queue, to be killed: the
// store.Config as JSON.
const childEnv = "JOB_TEST_CHILD"

func TestMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := runChild(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runChild does jobs that each write one row together with their end.
func runChild(text string) error {
	var cfg store.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	timing := quick()
	timing.Lease = 600 * time.Millisecond // a short one also gets lost on a busy machine
	q, err := New(Config{DB: db, Logger: slog.New(slog.DiscardHandler), Timing: timing})
	if err != nil {
		return err
	}
	q.Register("effect", func(ctx context.Context, j Job) error {
		return db.Tx(ctx, func(tx *store.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO effect (id) VALUES (CAST($1 AS TEXT))`, j.ID); err != nil {
				return err
			}
			return j.Complete(ctx, tx)
		})
	}, Attempts(1000))
	return q.Run(context.Background())
}

// TestKill holds that jobs survive the death of the processes that do them, two
// at a time and killed again and again, and that what a job completes in its
// transaction happens once.
func TestKill(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `CREATE TABLE effect (id TEXT NOT NULL)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, Config{DB: db})
		number := func(query string) (n int) {
			t.Helper()
			if err := db.Read().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		children := []*exec.Cmd{spawn(t, cfg), spawn(t, cfg)}
		const each = 40
		kills := size.Size(6, 60)
		for k := range kills {
			before := number(`SELECT count(*) FROM effect`)
			for range each {
				enqueue(t, q, Insert{Kind: "effect"})
			}
			await(t, "progress", func() bool { return number(`SELECT count(*) FROM effect`) > before })
			kill(t, children[k%2])
			children[k%2] = spawn(t, cfg)
		}
		await(t, "all jobs", func() bool { return number(`SELECT count(*) FROM job WHERE state <> 'done'`) == 0 })
		if n, distinct := number(`SELECT count(*) FROM effect`), number(`SELECT count(DISTINCT id) FROM effect`); n != kills*each || distinct != n {
			t.Errorf("%d effects of %d jobs, want each of %d once", n, distinct, kills*each)
		}
		for _, c := range children {
			kill(t, c)
		}
	})
}

func spawn(t *testing.T, cfg store.Config) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a child: %v", err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			kill(t, cmd)
		}
	})
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("kill the child: %v", err)
	}
	done := time.AfterFunc(10*time.Second, func() { t.Error("a killed child does not end") })
	defer done.Stop()
	_ = cmd.Wait() // says that it was killed
}
