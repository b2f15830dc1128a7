package bench

import (
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/usage"
)

// cpu is time on processors: of this process and of its children, which the
// PostgreSQL server is. What other programs on the machine do is not in it.
type cpu time.Duration

func startCPU() cpu { return cpu(usage.CPU()) }

// report tells what was used since, per iteration.
func (c cpu) report(b *testing.B) {
	b.ReportMetric(float64(usage.CPU()-time.Duration(c))/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
}
