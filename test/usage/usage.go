// Package usage tells what programs use of the machine, as Linux's /proc says:
// benchmarks and load tests count processor time, which others cannot disturb.
package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of time in /proc, fixed for all programs.
const clockTick = 10 * time.Millisecond

// What Memory can tell.
const (
	Resident = "VmRSS" // now
	Peak     = "VmHWM" // at most until now
)

// CPU is the time on processors of this process and its descendants, as far as
// they run one of the named programs, whatever they run without a name. What
// other programs on the machine do is not in it. It is 0 where there is no /proc.
func CPU(programs ...string) time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	parents, ticks := map[int]int{}, map[int]int64{}
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// proc(5): the name, which may hold anything, is between the first bracket and the last.
		begin, end := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
		fields := bytes.Fields(raw[end+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parents[pid], _ = strconv.Atoi(string(fields[1]))
		if len(programs) > 0 && !slices.Contains(programs, string(raw[begin+1:end])) {
			continue
		}
		// utime and stime, and those of its children that have ended: PostgreSQL has a process for each connection.
		for _, f := range fields[11:15] {
			n, _ := strconv.ParseInt(string(f), 10, 64)
			ticks[pid] += n
		}
	}
	var sum int64
	for pid, n := range ticks {
		if descends(pid, parents) {
			sum += n
		}
	}
	return time.Duration(sum) * clockTick
}

// descends tells whether a process is this one or comes from it.
func descends(pid int, parents map[int]int) bool {
	for ; pid > 1; pid = parents[pid] {
		if pid == os.Getpid() {
			return true
		}
	}
	return false
}

// Memory is what a process has in memory, Resident or Peak, in bytes.
func Memory(pid int, which string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), which+":")
	fields := strings.Fields(rest)
	if !found || len(fields) < 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("no %s of process %d", which, pid)
	}
	kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10, err
}
