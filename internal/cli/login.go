package cli

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/appclient"
)

// sessionFlag names the file of a sign-in from this terminal.
type sessionFlag struct {
	Session string `placeholder:"FILE" help:"Where the sign-in is kept (atoll/session.json in your configuration folder)."`
}

func (f sessionFlag) file(r *run) (appclient.File, error) {
	if f.Session != "" {
		return appclient.File(f.Session), nil
	}
	return appclient.FileIn(r.env)
}

// env is a variable of the process; empty when it is not set.
func (r *run) env(name string) string {
	for _, variable := range r.process.Env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

type loginCommand struct {
	sessionFlag
	Handle    string `arg:"" help:"Your handle, DID, or the address of your server."`
	Server    string `required:"" placeholder:"URL" help:"The instance to sign in at, such as https://community.example.org."`
	NoBrowser bool   `help:"Only print the address, and open no browser."`
	Remote    bool   `help:"Your browser is on another machine: don't listen for it here."`
}

// Run signs in from the terminal.
func (c loginCommand) Run(r *run) error {
	file, err := c.file(r)
	if err != nil {
		return err
	}
	me, err := appclient.Login{
		Server: c.Server, Identifier: c.Handle, Loopback: !c.Remote, File: file,
		Show: func(url, code string) { c.show(r, url, code) },
	}.Run(r.ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.process.Stdout, "Signed in as %s.\n", name(me))
	return nil
}

func (c loginCommand) show(r *run, url, code string) {
	fmt.Fprintf(r.process.Stderr, "Open this address in your browser:\n\n    %s\n\nYour code, to be typed there if it is asked for:\n\n    %s\n\n", url, code)
	if !c.NoBrowser && !c.Remote {
		openBrowser(r.ctx, url)
	}
}

// openBrowser tries; the address is on the screen in any case.
func openBrowser(ctx context.Context, url string) {
	program, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	if path, err := exec.LookPath(program); err == nil {
		cmd := exec.CommandContext(ctx, path, args...)
		if cmd.Start() == nil {
			go func() { _ = cmd.Wait() }()
		}
	}
}

// name is how somebody is shown.
func name(me appclient.Me) string {
	if me.Handle == "" || me.Handle == "handle.invalid" {
		return me.DID
	}
	return "@" + me.Handle + " (" + me.DID + ")"
}

// moment is a time for a terminal.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
