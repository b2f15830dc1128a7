package usage

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestCPU holds that work of this process and of ended and running children is
// counted, by name when names are given, and nobody else's.
func TestCPU(t *testing.T) {
	t.Parallel()
	before := CPU()
	busy := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	shell, err := filepath.EvalSymlinks(busy.Path)
	if err != nil {
		t.Fatal(err)
	}
	for CPU(filepath.Base(shell), "sh") < 10*clockTick {
		time.Sleep(clockTick)
	}
	if CPU()-before < 10*clockTick {
		t.Error("what a child uses is not counted without its name")
	}
	if n := CPU("no program is called so"); n != 0 {
		t.Errorf("%v of a program that does not run", n)
	}
	_ = busy.Process.Kill()
	_ = busy.Wait()
	if CPU()-before < 10*clockTick {
		t.Error("what an ended child has used is not counted")
	}
}

// TestMemory holds the units, and the error for what cannot be told.
func TestMemory(t *testing.T) {
	t.Parallel()
	now, err := Memory(os.Getpid(), Resident)
	if err != nil || now < 1<<20 || now > 1<<34 {
		t.Errorf("resident: %d bytes, %v", now, err)
	}
	if peak, err := Memory(os.Getpid(), Peak); err != nil || peak < 1<<20 {
		t.Errorf("peak: %d bytes, %v", peak, err)
	}
	if _, err := Memory(os.Getpid(), "Nothing"); err == nil {
		t.Error("a field that is not there is told")
	}
	if _, err := Memory(-1, Resident); err == nil {
		t.Error("the memory of no process is told")
	}
}
