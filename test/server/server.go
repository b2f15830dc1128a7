// Package server runs the built program for people and for measurements: it builds, starts, awaits and stops it, and
// signs members in as their browsers do. Tests that need seams start processes of their own (test/e2e).
package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	readyBudget = 60 * time.Second
	stopBudget  = 30 * time.Second
)

// Build makes the program at the path binary from the checkout of the working folder.
func Build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/atoll-social/atoll/cmd/atoll")
	cmd.WaitDelay = 5 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Atoll: %w\n%s", err, output)
	}
	return nil
}

// Server is the running program.
type Server struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// Start serves with the settings in the file config and nothing of the environment's. Its output goes to the file log.
func Start(binary, config, log string) (*Server, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the server has its own descriptor
	s := &Server{cmd: exec.Command(binary, "serve", "--config", config), log: log, exited: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = file, file
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ATOLL_") {
			s.cmd.Env = append(s.cmd.Env, variable)
		}
	}
	// Ctrl-C reaches only this program, which stops the server before the network that it talks to.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Atoll: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // the state says how it ended
		close(s.exited)
	}()
	return s, nil
}

// PID is the number of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the process has ended, however that came about.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// AwaitReady returns when the server at origin says that it is ready.
func (s *Server) AwaitReady(ctx context.Context, origin string) error {
	ctx, cancel := context.WithTimeout(ctx, readyBudget)
	defer cancel()
	// It is here: no proxy of the environment stands between, and an answer that
	// does not come is no answer.
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.exited:
			return s.Unexpected()
		case <-ctx.Done():
			return fmt.Errorf("atoll does not become ready; its log is %s", s.log)
		case <-tick.C:
			if ready(ctx, client, origin+"/readyz") {
				return nil
			}
		}
	}
}

func ready(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// Unexpected is the error of a server that ended by itself, with the end of its log.
func (s *Server) Unexpected() error {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return fmt.Errorf("atoll ended by itself (%s)", s.cmd.ProcessState)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-10):]
	return fmt.Errorf("atoll ended by itself (%s):\n%s", s.cmd.ProcessState, strings.Join(lines, "\n"))
}

// Stop lets the server finish what it is at.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error means that it ended already
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopBudget):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("atoll did not stop within %s and was killed; its log is %s", stopBudget, s.log)
	}
}
