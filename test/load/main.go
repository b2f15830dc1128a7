// Command load is `make load`: it runs the built program on an index of real size, puts wrk on its pages and its API, as
// a visitor and as a member who has signed in through their own server, and prints what came of it as one table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// options are the flags.
type options struct {
	binary      string
	engines     string
	posts       int
	connections int
	lasting     time.Duration
	only        string
	keep        string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", filepath.Join("bin", "atoll"), "the program")
	flag.StringVar(&o.engines, "engines", "sqlite,postgres", "databases to run it on, one after the other")
	flag.IntVar(&o.posts, "posts", 10_000, "posts in the index, 1,000 at least; the rest follows from it")
	flag.IntVar(&o.connections, "connections", 16, "requests at a time")
	flag.DurationVar(&o.lasting, "duration", 5*time.Second, "how long each kind of page is asked for, in whole seconds")
	flag.StringVar(&o.only, "only", "", "run only what has this in its name, such as thread")
	flag.StringVar(&o.keep, "keep", "", "folder for the database and the log, which is kept; empty: temporary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// run measures on each engine in turn. What fails with an error is also what a server answered with one.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.posts < 1000 || o.lasting < time.Second || o.connections < 1 {
		return errors.New("at least 1000 posts, a second and one connection are needed")
	}
	servers, err := network.Launch(ctx, network.Config{Plain: true, Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Stop()) }()
	for _, engine := range strings.Split(o.engines, ",") {
		if err := runOn(ctx, o, store.Engine(engine), servers.Network, out); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	return nil
}

func runOn(ctx context.Context, o options, engine store.Engine, n *network.Network, out io.Writer) (err error) {
	dir := filepath.Join(o.keep, string(engine))
	if o.keep == "" {
		if dir, err = os.MkdirTemp("", "atoll-load-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	i := &instance{options: o, network: n, dir: dir}
	switch engine {
	case store.SQLite:
	case store.Postgres:
		url, stop, err := storetest.StartPostgres(ctx, "")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		i.postgres = url
	default:
		return errors.New("no such engine; there are sqlite and postgres")
	}
	t, err := i.measure(ctx)
	if err != nil {
		return err
	}
	t.print(out, engine)
	return t.verdict()
}
