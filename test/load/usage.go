package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of time in Linux's /proc, fixed for all programs.
const clockTick = 10 * time.Millisecond

// cpuOf is the time on processors of our descendants that run one of the named programs: what the server and its
// database use, without wrk and the members' servers.
func cpuOf(programs ...string) time.Duration {
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
		for _, program := range programs {
			if string(raw[begin+1:end]) == program {
				// utime and stime, and those of its children that have ended: PostgreSQL has a process for each connection.
				for _, f := range fields[11:15] {
					n, _ := strconv.ParseInt(string(f), 10, 64)
					ticks[pid] += n
				}
			}
		}
	}
	var sum int64
	for pid, n := range ticks {
		for p := pid; p > 1; p = parents[p] {
			if p == os.Getpid() {
				sum += n
				break
			}
		}
	}
	return time.Duration(sum) * clockTick
}

// memoryOf is what a process has in memory, now (VmRSS) or at most until now (VmHWM), in bytes.
func memoryOf(pid int, which string) (int64, error) {
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
