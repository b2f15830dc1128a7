// Command services starts the local network and PostgreSQL once, runs a command with their addresses in its
// environment, and ends with its exit code. Services that the environment names already are handed on.
//
//	go run ./test/services -- go test ./...
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// exitTrouble is the exit code when the command did not run; timeout(1) and env(1) use it so.
const exitTrouble = 125

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if len(args) < 2 || args[0] != "--" {
		return exitTrouble, errors.New("usage: services -- COMMAND [ARGUMENT]…")
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var s services
	started := make(chan error, 1)
	go func() { started <- s.start(ctx) }()
	select {
	case err = <-started:
	case <-signals:
		cancel()
		err = errors.Join(errors.New("stopped before the services were up"), <-started)
	}
	code = exitTrouble
	if err == nil {
		fmt.Fprintln(os.Stderr, "services:", s.summary())
		code, err = command(args[1:], s.env(), signals)
	}
	return code, errors.Join(err, s.stop())
}

// command runs a program in a process group of its own, so that it gets a signal once: from here, not also from the
// terminal. The whole group gets it, as it would from a terminal.
func command(args, env []string, signals <-chan os.Signal) (code int, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return exitTrouble, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal)) // gone already: ended will tell
		case err := <-ended:
			return exitCode(cmd.ProcessState, err)
		}
	}
}

// exitCode is the command's own, or 128 and the signal's number as a shell would say it.
func exitCode(state *os.ProcessState, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return exitTrouble, err
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}

// services are what this process started; a nil part was in the environment already.
type services struct {
	network     *network.Process
	postgresURL string
	stopSQL     func() error
}

func (s *services) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if os.Getenv(network.EnvNetwork) == "" {
		group.Go(func() (err error) {
			s.network, err = network.Launch(ctx, network.Config{Progress: os.Stderr})
			return err
		})
	}
	if os.Getenv(storetest.URLVariable) == "" {
		group.Go(func() (err error) {
			s.postgresURL, s.stopSQL, err = storetest.StartPostgres(ctx, "")
			return err
		})
	}
	return group.Wait()
}

func (s *services) env() []string {
	var env []string
	if s.network != nil {
		env = append(env, network.EnvNetwork+"="+s.network.Env())
	}
	if s.stopSQL != nil {
		env = append(env, storetest.URLVariable+"="+s.postgresURL)
	}
	return env
}

// summary is for the person who runs `make network`. The password in the database's address is worth nothing elsewhere.
func (s *services) summary() string {
	var parts []string
	if s.network != nil {
		parts = append(parts, "directory "+s.network.PLC)
		for _, pds := range s.network.PDS {
			parts = append(parts, pds.URL+" at http://"+pds.Listen)
		}
	}
	if s.stopSQL != nil {
		parts = append(parts, s.postgresURL)
	}
	if len(parts) == 0 {
		return "all of them were named in the environment"
	}
	return strings.Join(parts, ", ")
}

func (s *services) stop() error {
	var errs []error
	if s.network != nil {
		errs = append(errs, s.network.Stop())
	}
	if s.stopSQL != nil {
		errs = append(errs, s.stopSQL())
	}
	return errors.Join(errs...)
}
