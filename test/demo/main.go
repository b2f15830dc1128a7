// Command demo is `make run`: the whole product on one machine. It builds Atoll, starts the local network, makes demo
// accounts, communities and posts the first time, and says where it is and who may sign in. Everything is kept in one
// folder until the next run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/server"
)

// networkPort is the default of options.network. 2583 is the number that other people's development setups use for a
// PDS as well.
const networkPort = 2582

type options struct {
	data   string // folder of everything that is kept
	binary string // where to build Atoll
	listen string // Atoll's address, host:port
	// network is the port where the directory listens if it can; the PDSes take the next two.
	network int
	// How many communities and members are made, of those that there are; 0 for all. Tests are content with a few.
	communities, members int
}

// origin is where browsers find Atoll.
func (o options) origin() string { return "http://" + o.listen }

func main() {
	var o options
	flag.StringVar(&o.data, "data", "data", "folder of everything that is kept between runs")
	flag.StringVar(&o.binary, "binary", filepath.Join("bin", "atoll"), "where to build Atoll")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address and port for Atoll")
	flag.IntVar(&o.network, "network", networkPort, "port of the directory at the first run; the two servers take the next ones")
	flag.IntVar(&o.communities, "communities", 0, "how many communities to make, of those that there are; 0 for all")
	flag.IntVar(&o.members, "members", 0, "how many members to make, likewise")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends this process at once, and with it the network
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run returns when ctx ends (nil) or when a part fails.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if err := free(o.listen); err != nil {
		return err
	}
	servers, err := prepare(ctx, o, out)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, servers.Stop()) }()
	config := filepath.Join(o.data, "atoll.toml")
	if err := os.WriteFile(config, settings(o, servers.Network), 0o600); err != nil {
		return err
	}
	atoll, err := server.Start(o.binary, config, filepath.Join(o.data, "atoll.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, atoll.Stop()) }()
	if err := atoll.AwaitReady(ctx, o.origin()); err != nil {
		return unlessStopped(ctx, err)
	}
	fmt.Fprintf(out, "\nAtoll is running at %s\n\n", o.origin())
	if err := furnish(ctx, o, servers, atoll, out); err != nil {
		return unlessStopped(ctx, err)
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nstopping")
		return nil
	case <-atoll.Exited():
		return atoll.Unexpected()
	case <-servers.Exited():
		return errNetworkEnded
	}
}

var errNetworkEnded = errors.New("the local network ended by itself")

// furnish makes what the demo shows, as far as it isn't there, and says who may sign in.
func furnish(ctx context.Context, o options, servers *network.Process, atoll *server.Server, out io.Writer) error {
	c, err := loadContent()
	if err != nil {
		return err
	}
	c.bound(o.communities, o.members)
	d, err := openDiary(o.data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	made := make(chan error, 1)
	go func() { made <- populate(ctx, servers.Network, o.origin(), d, c, out) }()
	select {
	case err = <-made:
	case <-atoll.Exited():
		err = atoll.Unexpected()
	case <-servers.Exited():
		err = errNetworkEnded
	}
	if err != nil {
		return err
	}
	welcome(out, o, servers.Network, c)
	return nil
}

// unlessStopped drops the error of a step that Ctrl-C interrupted.
func unlessStopped(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// free fails with a sentence on what to do when another program has the address.
func free(address string) error {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program; stop it, or choose an address: go run ./test/demo -listen 127.0.0.1:8081", address)
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// prepare builds Atoll while the network starts.
func prepare(ctx context.Context, o options, out io.Writer) (*network.Process, error) {
	if err := os.MkdirAll(o.data, 0o755); err != nil {
		return nil, err
	}
	fmt.Fprintln(out, "building Atoll and starting the local network")
	var servers *network.Process
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Build(ctx, o.binary) })
	group.Go(func() (err error) {
		servers, err = network.Launch(ctx, network.Config{
			Plain: true, DataDir: filepath.Join(o.data, "network"), Port: o.network, Progress: out,
		})
		return err
	})
	if err := group.Wait(); err != nil {
		if servers != nil {
			err = errors.Join(err, servers.Stop())
		}
		return nil, err
	}
	return servers, nil
}
