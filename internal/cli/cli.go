// Package cli turns arguments and environment into settings, runs the command
// that was asked for, and turns errors into exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/fault"
)

// Exit codes of the program.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMistake = 2 // arguments or settings
)

// Process is what a program is started with.
type Process struct {
	Env            []string // like os.Environ()
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string
	Seams          Seams
}

// Seams are the places where the end-to-end tests reach into a running
// program. No argument, variable or file sets them.
type Seams struct {
	// Route sends requests for a host to a plain-http loopback address.
	Route func(host string) (addr string, ok bool)
	// Resolver replaces the system's.
	Resolver *net.Resolver
	// ClockOffset moves the program's clock.
	ClockOffset time.Duration
	// SignInScope is what members are asked for at first; empty: everything.
	SignInScope string
}

// commands is the tree that kong parses; a field's help is the documentation.
type commands struct {
	settingFlags

	Serve       serveCommand       `cmd:"" help:"Run the server until it is told to stop (SIGTERM or Ctrl-C; twice stops at once)."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database to this version's schema and exit. serve does the same by itself."`
	Config      configCommand      `cmd:"" help:"Print the effective settings and where each came from, secrets hidden."`
	Keys        keysCommand        `cmd:"" help:"Make, list, rotate and withdraw keys; seal the database with a new one."`
	Sessions    sessionsCommand    `cmd:"" help:"For operators, on the database: list, show, renew and revoke members' sessions. Your own are in apps."`
	Ingest      ingestCommand      `cmd:"" help:"Show and repair what was read from the network."`
	Lexicon     lexiconCommand     `cmd:"" help:"Check lexicon files."`
	Jobs        jobsCommand        `cmd:"" help:"List, show, retry and cancel what is done later."`
	Communities communitiesCommand `cmd:"" help:"Say whose posts communities take; approve, remove, ban."`
	Accounts    accountsCommand    `cmd:"" help:"List, show, repair and rename the accounts of communities; give out their recovery keys."`
	Doctor      doctorCommand      `cmd:"" help:"Check from outside what usually breaks and say how to mend it."`
	Login       loginCommand       `cmd:"" help:"Sign in at an instance from this terminal."`
	Whoami      whoamiCommand      `cmd:"" help:"Say who is signed in from this terminal."`
	Apps        appsCommand        `cmd:"" help:"List and end the programs that are signed in for you."`
	Logout      logoutCommand      `cmd:"" help:"Sign this terminal out."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// settingFlags are the settings that have a flag of their own; the rest go
// through --set.
type settingFlags struct {
	Config        string            `name:"config" short:"c" placeholder:"FILE" help:"Settings file. Without it atoll.toml is read where it exists."`
	Listen        *string           `placeholder:"HOST:PORT" help:"Address and port to serve on (127.0.0.1:8080)."`
	PublicURL     *string           `name:"public-url" placeholder:"URL" help:"https:// origin that members use; empty for development on this machine."`
	DataDir       *string           `placeholder:"DIR" help:"Folder of the embedded database (./data)."`
	Dev           *string           `name:"dev" placeholder:"true" help:"Development: allow loopback targets."`
	MetricsListen *string           `placeholder:"HOST:PORT" help:"Address and port of /metrics; off without it."`
	LogLevel      *string           `placeholder:"LEVEL" help:"debug, info, warn or error (info)."`
	LogFormat     *string           `placeholder:"FORMAT" help:"text or json (text)."`
	Set           map[string]string `placeholder:"KEY=VALUE" help:"Any setting of docs/config.md. Secrets belong in a file or the environment."`
}

func (f settingFlags) values() map[string]string {
	values := map[string]string{}
	for key, value := range f.Set {
		values[key] = value
	}
	for key, value := range map[string]*string{
		"listen": f.Listen, "public_url": f.PublicURL, "data_dir": f.DataDir, "dev": f.Dev,
		"metrics_listen": f.MetricsListen, "log_level": f.LogLevel, "log_format": f.LogFormat,
	} {
		if value != nil {
			values[key] = *value
		}
	}
	return values
}

// run is what a command gets.
type run struct {
	ctx     context.Context
	process Process
	flags   settingFlags
}

// settings loads the settings; warnings go to standard error.
func (r *run) settings() (*config.Config, error) {
	c, warnings, err := config.Load(config.Input{File: r.flags.Config, Env: r.process.Env, Flags: r.flags.values()})
	for _, w := range warnings {
		fmt.Fprintln(r.process.Stderr, "warning:", w)
	}
	return c, err
}

func (r *run) now() time.Time { return time.Now().Add(r.process.Seams.ClockOffset) }

// exited carries the code with which kong wants to end, after --help.
type exited int

// Main runs the program and returns its exit code.
func Main(args []string, p Process) (code int) {
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(exited)
			if !ok {
				panic(v)
			}
			code = int(e)
		}
	}()
	var tree commands
	parser, err := kong.New(&tree,
		kong.Name("atoll"),
		kong.Description("A community server for the AT Protocol."),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		panic(err) // the tree above is wrong: a programmer's error
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.Stderr, "atoll: %v\nRun `atoll --help` for the commands.\n", err)
		return exitMistake
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return report(p, parsed.Run(&run{ctx: ctx, process: p, flags: tree.settingFlags}))
}

// report prints err once and chooses the exit code.
func report(p Process, err error) int {
	if err == nil {
		return exitOK
	}
	var mistakes *config.Error
	if errors.As(err, &mistakes) {
		fmt.Fprintln(p.Stderr, "atoll:", mistakes)
		return exitMistake
	}
	var shown *fault.Error
	if errors.As(err, &shown) && shown.Cause == nil {
		fmt.Fprintln(p.Stderr, "atoll:", shown.Public)
		return exitFailed
	}
	fmt.Fprintln(p.Stderr, "atoll:", err)
	return exitFailed
}
