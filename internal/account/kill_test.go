package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// childEnv makes this test binary a process that makes an account and is killed
// at a point of it.
const childEnv = "ACCOUNT_TEST_CHILD"

// child is what that process is told.
type child struct {
	Store   store.Config
	Network string
	Name    string
	Point   string
}

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

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	n, err := network.Parse(c.Network)
	if err != nil {
		return err
	}
	db, err := store.Open(context.Background(), c.Store)
	if err != nil {
		return err
	}
	cfg, err := config(n, db, os.Stderr, time.Now)
	if err != nil {
		return err
	}
	if cfg.Ring, err = keyring.Parse(testKey); err != nil {
		return err
	}
	cfg.Point = func(step string) {
		if step == c.Point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	m, err := New(cfg)
	if err != nil {
		return err
	}
	_, err = m.Provision(context.Background(), named(c.Name))
	return errors.Join(err, errors.New("was not killed"))
}

// TestKilledAtEveryStep holds H1 through crashes: wherever the process is killed,
// the next one makes one account of it, with its credentials, and the same
// request again gets that.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	points := []string{
		"before reserved", "after reserved", "before creating", "sending", "sent", "after creating",
		"before created", "after created", "before published", "after published",
	}
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		for _, point := range points {
			w := newWorld(t, n, db)
			w.later(provisionAfter + leaseTime) // what the dead held is free
			name := network.Name("killed")
			text, err := json.Marshal(child{cfg, n.Env(), name, point})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+string(text))
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: the child ended with %v:\n%s", point, err, out)
			}
			id := w.row(name + n.PDS[0].HandleDomain).id
			w.work(id, active)
			r := w.row(id)
			if said, there := w.atPDS(name); !there || !strings.Contains(said, r.did.String()) {
				t.Errorf("%s: the PDS has %s, we have %s", point, said, r.did)
			}
			if keys := w.rotationKeys(r.did); len(keys) == 0 || keys[0] != r.recoveryDID {
				t.Errorf("%s: rotation keys %v, want %s first", point, keys, r.recoveryDID)
			}
			if err := w.update(t.Context(), r.did, "after"); err != nil {
				t.Errorf("%s: write as the account: %v", point, err)
			}
			if h := w.provision(named(name)); h.DID != r.did {
				t.Errorf("%s: the request again gives %s, want %s", point, h.DID, r.did)
			}
		}
	})
}

// TestKilledWhileUndoing holds that what failed is removed by the next process.
func TestKilledWhileUndoing(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		crash := errors.New("killed")
		for _, point := range []string{"before undoing", "after undoing"} {
			req := request()
			first := newWorld(t, n, db, func(c *Config) {
				c.Point = func(step string) {
					if step == point {
						panic(crash)
					}
				}
			})
			first.wire.set(on("com.atproto.repo.putRecord", 400, `{"error":"InvalidRequest","message":"no"}`))
			func() {
				defer func() {
					if v := recover(); v != crash {
						t.Fatalf("%s: %v", point, v)
					}
				}()
				_, err := first.Provision(t.Context(), req)
				t.Fatalf("%s: Provision came back: %v", point, err)
			}()
			next := newWorld(t, n, db)
			next.later(provisionAfter + leaseTime)
			id := next.row(req.Name + n.PDS[0].HandleDomain).id
			next.work(id, undone)
			next.nothingLeft(req.Name)
		}
	})
}
