package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// clockTick is the unit of time in Linux's /proc, fixed for all programs.
const clockTick = 10 * time.Millisecond

// cpu is time on processors: of this process and of its children, which the
// PostgreSQL server is. What other programs on the machine do is not in it.
type cpu time.Duration

func startCPU() cpu { return cpu(usedCPU()) }

// report tells what was used since, per iteration.
func (c cpu) report(b *testing.B) {
	b.ReportMetric(float64(usedCPU()-time.Duration(c))/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
}

// usedCPU is 0 where there is no /proc.
func usedCPU() time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents, ticks := map[int]int{}, map[int]int64{}
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// proc(5): the name, which may hold anything, ends with the last bracket.
		fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parents[pid], _ = strconv.Atoi(string(fields[1]))
		for _, f := range fields[11:13] { // utime, stime
			n, _ := strconv.ParseInt(string(f), 10, 64)
			ticks[pid] += n
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
