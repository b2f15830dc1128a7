package network

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/atoll-social/atoll/test/port"
)

const (
	startBudget = 2 * time.Minute // 2 s on an idle machine
	stopBudget  = 60 * time.Second
)

// Config says what to launch. The zero value is two https-named PDSes on free ports with their data in a temporary folder.
type Config struct {
	// Plain makes servers that call themselves http://localhost:PORT, for a person's browser, instead of
	// https://pds1.atoll-tests.net and https://pds2.atoll-tests.net.
	Plain bool
	// DataDir keeps everything between runs, ports included. Empty: temporary, removed at the end.
	DataDir string
	// Port is asked for at the first run in DataDir, for the directory; the PDSes take the next ones. Ports that are taken
	// at that time are replaced by free ones. 0: free ones that nobody else is given, as servers stop and come back.
	Port int
	// Progress receives a line when something takes long. Nil: nowhere.
	Progress io.Writer
}

// Process is a network that this process started. It ends with [Process.Stop], and at the latest with this process,
// however that ends.
type Process struct {
	*Network
	cmd    *exec.Cmd
	stdin  io.Closer
	errors *tail
	exited chan struct{}
	err    error // of the exit; readable once exited is closed
}

// Launch installs the servers if need be, starts them and returns when they answer. ctx bounds the start only.
func Launch(ctx context.Context, cfg Config) (*Process, error) {
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	if cfg.Port == 0 {
		var err error
		if cfg.Port, err = port.Row(3); err != nil { // the directory's and two PDSes'
			return nil, err
		}
	}
	installation, err := Install(ctx, cfg.Progress)
	if err != nil {
		return nil, err
	}
	dir, err := program(installation)
	if err != nil {
		return nil, err
	}
	nodes, err := filepath.Glob(filepath.Join(installation, "node_modules", "node-linux-*", "bin", "node"))
	if err != nil || len(nodes) == 0 {
		return nil, fmt.Errorf("no Node in %s: remove that folder to install again", installation)
	}
	return launch(ctx, nodes[0], arguments(dir, cfg))
}

func arguments(program string, cfg Config) []string {
	args := []string{filepath.Join(program, "main.mjs"), "--port", strconv.Itoa(cfg.Port)}
	if cfg.DataDir != "" {
		args = append(args, "--data", cfg.DataDir)
	}
	if !cfg.Plain {
		args = append(args, "--names", "pds1.atoll-tests.net,pds2.atoll-tests.net")
	}
	return args
}

func launch(ctx context.Context, node string, args []string) (*Process, error) {
	p := &Process{cmd: exec.Command(node, args...), errors: &tail{}, exited: make(chan struct{})}
	// Of the environment it gets what a program needs to run, not settings of PDSes that the machine may have.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	// A group of its own: Ctrl-C in a terminal is for whoever started us, who then stops things in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p.errors
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start local network: %w", err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start local network: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start local network: %w", err)
	}
	p.stdin = stdin
	line := make(chan string, 1)
	go p.follow(stdout, line)
	if err := p.await(ctx, line); err != nil {
		_ = p.Stop() // what it would report is the error we have
		return nil, err
	}
	return p, nil
}

// follow reads the one line that announces the network and then waits for the end of the process.
func (p *Process) follow(stdout io.Reader, line chan<- string) {
	text, _ := bufio.NewReader(stdout).ReadString('\n')
	line <- text
	p.err = p.cmd.Wait()
	close(p.exited)
}

func (p *Process) await(ctx context.Context, line <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, startBudget)
	defer cancel()
	select {
	case text := <-line:
		if text == "" {
			<-p.exited
			return fmt.Errorf("start local network: %s", p.errors.text("it ended without a word"))
		}
		var err error
		p.Network, err = Parse(text)
		return err
	case <-ctx.Done():
		return fmt.Errorf("start local network: %w", ctx.Err())
	}
}

// Exited is closed when the network has ended, asked to or not.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop ends the network and waits until its data is written.
func (p *Process) Stop() error {
	_ = p.stdin.Close() // that is the sign
	select {
	case <-p.exited:
	case <-time.After(stopBudget):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	if p.err != nil {
		return fmt.Errorf("stop local network: %w: %s", p.err, p.errors.text("no message"))
	}
	return nil
}

// tail keeps the end of what the servers write to standard error, for a message when they fail.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const limit = 4096
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - limit; over > 0 {
		t.kept = t.kept[over:]
	}
	return len(b), nil
}

func (t *tail) text(otherwise string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := bytes.TrimSpace(t.kept); len(text) > 0 {
		return string(text)
	}
	return otherwise
}
