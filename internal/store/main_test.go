package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// childVariable makes the test binary a process of its own that can be killed:
// the name of what it does, a space, and the store.Config as JSON.
const childVariable = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	what, config, isChild := strings.Cut(os.Getenv(childVariable), " ")
	if !isChild {
		os.Exit(m.Run())
	}
	var cfg store.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	switch what {
	case "migrate-and-hang":
		childMigrate(db)
	case "insert-for-ever":
		childInsert(db)
	}
}

// childMigrate migrates one file, does the next one by half, and hangs.
func childMigrate(db *store.DB) {
	ctx := context.Background()
	if err := db.MigrateFiles(ctx, upTo(smallFiles(goodSecond), 1)); err != nil {
		panic(err)
	}
	// The lock is held, too, as it would be.
	if _, err := db.LockMigrations(ctx); err != nil {
		panic(err)
	}
	tx, err := db.Writer().BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	half, _, _ := strings.Cut(goodSecond, "CREATE INDEX")
	if _, err := tx.ExecContext(ctx, half); err != nil {
		panic(err)
	}
	fmt.Println("half")
	select {}
}

// childInsert commits one row after the other and says so after each.
func childInsert(db *store.DB) {
	ctx := context.Background()
	for i := 0; ; i++ {
		err := db.Tx(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO thing (id) VALUES ($1)`, fmt.Sprintf("%06d", i))
			return err
		})
		if err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// child is a running process of this test binary.
type child struct {
	cmd   *exec.Cmd
	lines chan string // what it printed; closed when it ends
}

func childCommand(t *testing.T, what string, cfg store.Config) *child {
	t.Helper()
	cfg.Logger = nil
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0]), lines: make(chan string, 1<<16)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+what+" "+string(config))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start a child: %v", err)
	}
	go func() {
		defer close(c.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	return c
}

// wait returns when the child has printed line.
func (c *child) wait(t *testing.T, line string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case got, ok := <-c.lines:
			if !ok {
				t.Fatalf("the child ended before it printed %q", line)
			}
			if got == line {
				return
			}
		case <-timeout:
			t.Fatalf("the child did not print %q in 20s", line)
		}
	}
}

// kill kills the child as kill -9 does and returns what it had printed since.
func (c *child) kill(t *testing.T) (rest []string) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the child: %v", err)
	}
	for line := range c.lines {
		rest = append(rest, line)
	}
	_ = c.cmd.Wait()
	return rest
}
