package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// row is what came of one target.
type row struct {
	target
	figures
	cpu time.Duration // of the server and its database
}

// table is what came of one engine. Memory is that of the server's process, in bytes: with an empty index, with a full
// one before it was asked anything, and at most.
type table struct {
	posts, connections int
	idle, full, peak   int64
	ready              time.Duration // from the start, with a full index; asked for 20 times a second
	rows               []row
}

func (t *table) print(out io.Writer, engine store.Engine) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%s, %d posts, %d requests at a time\n\n", engine, t.posts, t.connections)
	fmt.Fprintln(w, "what\tfor a\trequests/s\tp50 ms\tp99 ms\tcpu µs\tbytes\terrors\t")
	for _, r := range t.rows {
		answers := max(r.Answers, 1)
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.1f\t%.1f\t%d\t%d\t%d\t\n", r.name, r.who(),
			float64(r.Answers)/(float64(r.Micros)/1e6), float64(r.P50)/1000, float64(r.P99)/1000,
			r.cpu.Microseconds()/answers, r.Bytes/answers, r.Refused+r.Broken)
	}
	_ = w.Flush() // to a terminal
	fmt.Fprintf(out, "\nready %v after the start; memory of the server: %d MB with an empty index, %d MB with this one, %d MB at most\n",
		t.ready.Round(10*time.Millisecond), t.idle>>20, t.full>>20, t.peak>>20)
}

// verdict is an error when an answer was one.
func (t *table) verdict() error {
	var wrong []error
	for _, r := range t.rows {
		if r.Refused+r.Broken > 0 || r.Answers == 0 {
			wrong = append(wrong, fmt.Errorf("%s for a %s: %d answers, %d of them refused, %d connections broken", r.name, r.who(), r.Answers, r.Refused, r.Broken))
		}
	}
	return errors.Join(wrong...)
}
