package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/test/network"
)

const (
	readyBudget = 60 * time.Second
	stopBudget  = 30 * time.Second
)

// settings is the configuration file of the demo's Atoll.
func settings(o options, n *network.Network) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Written anew by every `make run`. The keys are explained in docs/config.md.")
	fmt.Fprintf(&b, "listen = %q\ndata_dir = %q\ndev = true\nplc_url = %q\n", o.listen, o.data, n.PLC)
	var handles []string
	for _, pds := range n.PDS {
		handles = append(handles, fmt.Sprintf("%q = %q", pds.HandleDomain, pds.URL))
	}
	fmt.Fprintf(&b, "dev_handles = { %s }\n", strings.Join(handles, ", "))
	for _, pds := range n.PDS {
		fmt.Fprintf(&b, "\n[[source]]\nkind = \"repos\"\nurl = %q\n", pds.URL)
	}
	home := n.PDS[0] // where communities get their accounts
	fmt.Fprintf(&b, "\n[hosting]\npds_url = %q\npds_admin_password = %q\nhandle_domain = %q\n", home.URL, n.AdminPassword, home.HandleDomain)
	return b.Bytes()
}

// atoll is the running server.
type atoll struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// startAtoll serves with the given settings and nothing of the environment's.
func startAtoll(binary, config, logName string) (*atoll, error) {
	log, err := os.Create(logName)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the server has its own descriptor
	a := &atoll{cmd: exec.Command(binary, "serve", "--config", config), log: logName, exited: make(chan struct{})}
	a.cmd.Stdout, a.cmd.Stderr = log, log
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ATOLL_") {
			a.cmd.Env = append(a.cmd.Env, variable)
		}
	}
	// Ctrl-C reaches only this program, which stops the server before the network that it talks to.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Atoll: %w", err)
	}
	go func() {
		_ = a.cmd.Wait() // the state says how it ended
		close(a.exited)
	}()
	return a, nil
}

func (a *atoll) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyBudget)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-a.exited:
			return a.unexpected()
		case <-ctx.Done():
			return fmt.Errorf("atoll does not become ready; its log is %s", a.log)
		case <-tick.C:
			if ready(ctx, url) {
				return nil
			}
		}
	}
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// unexpected is the error of a server that ended by itself, with the end of its log.
func (a *atoll) unexpected() error {
	text, err := os.ReadFile(a.log)
	if err != nil {
		return fmt.Errorf("atoll ended by itself (%s)", a.cmd.ProcessState)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-10):]
	return fmt.Errorf("atoll ended by itself (%s):\n%s", a.cmd.ProcessState, strings.Join(lines, "\n"))
}

// stop lets the server finish what it is at.
func (a *atoll) stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // an error means that it ended already
	select {
	case <-a.exited:
		return nil
	case <-time.After(stopBudget):
		_ = a.cmd.Process.Kill()
		<-a.exited
		return fmt.Errorf("atoll did not stop within %s and was killed; its log is %s", stopBudget, a.log)
	}
}

// welcomed is how many members are named; the others are on the pages.
const welcomed = 4

// welcome says who may sign in, and where everything is.
func welcome(out io.Writer, o options, n *network.Network, c *content) {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\n  sign in as\tpassword\tat")
	for _, m := range c.Members[:welcomed] {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", m.Name+n.PDS[m.PDS].HandleDomain, password, n.PDS[m.PDS].URL)
	}
	_ = table.Flush() // to a terminal
	fmt.Fprintf(out, "\n  Atoll      %s\n  directory  %s\n  log        %s/atoll.log\n\n", o.origin(), n.PLC, o.data)
	fmt.Fprintf(out, "Ctrl-C stops everything. Remove %s to begin anew.\n", o.data)
}
