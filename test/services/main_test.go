package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCommandEndsWithItsExitCode(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		want   int
	}{
		"success": {"exit 0", 0},
		"failure": {"exit 7", 7},
		"killed":  {"kill -9 $$", 137},
		"env":     {`test "$ANSWER" = 42`, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, err := command([]string{"bash", "-c", tt.script}, []string{"ANSWER=42"}, nil)
			if code != tt.want || err != nil {
				t.Errorf("%s: got %d, %v; want %d", tt.script, code, err, tt.want)
			}
		})
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	t.Parallel()
	code, err := command([]string{filepath.Join(t.TempDir(), "absent")}, nil, nil)
	if code != exitTrouble || err == nil {
		t.Errorf("command that isn't there: got %d, %v; want %d and an error", code, err, exitTrouble)
	}
}

// Children of the command get the signal as well, once, and the command decides what it means.
func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ready, heard := filepath.Join(dir, "ready"), filepath.Join(dir, "heard")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	script := `trap 'echo heard >>"$1"; exit 5' TERM; (trap 'echo child >>"$1"; exit' TERM; echo >"$0"; while :; do sleep 0.05; done) & while :; do wait; done`
	signals := make(chan os.Signal, 1)
	go func() {
		_, _ = os.ReadFile(ready) // returns when the child has set its trap
		signals <- syscall.SIGTERM
	}()
	code, err := command([]string{"bash", "-c", script, ready, heard}, nil, signals)
	if code != 5 || err != nil {
		t.Fatalf("command with a trap: got %d, %v; want 5", code, err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		text, _ := os.ReadFile(heard)
		if strings.Count(string(text), "heard") == 1 && strings.Count(string(text), "child") == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("signals heard: got %q, want one of the command and one of its child", text)
		}
		time.Sleep(10 * time.Millisecond) // the child is nobody's here to wait for
	}
}
