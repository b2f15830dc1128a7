// Package doctor looks at an instance from outside, finds what usually breaks,
// and says how to mend it.
package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels. Only Broken makes `atoll doctor` fail.
const (
	Fine    Level = "ok"
	Warning Level = "warning"
	Broken  Level = "broken"
)

// Finding is the outcome of one check.
type Finding struct {
	Level Level
	Check string // what was looked at, such as "client metadata"
	Text  string // what was found
	Fix   string // what to do; empty when fine
}

// Doctor checks one instance. All fields are needed unless they say otherwise.
type Doctor struct {
	HTTP      *http.Client // guarded; must not follow redirects
	PublicURL string       // empty for a development client: nothing is published then
	ClientID  string       // client_id that the instance signs in with
	PLCURL    string
	Sources   []string // origins of the PDSes and relays that are listened to
	Streams   []string // addresses of the other streams that are listened to, by https
	Hosting   *Hosting // nil: communities cannot be created here
	Now       func() time.Time
}

// Check runs every check, one after the other, within ctx.
func (d *Doctor) Check(ctx context.Context) []Finding {
	findings := d.Published(ctx)
	findings = append(findings, d.clock(ctx), d.directory(ctx))
	for _, origin := range d.Sources {
		findings = append(findings, d.source(ctx, origin))
	}
	for _, address := range d.Streams {
		findings = append(findings, d.stream(ctx, address))
	}
	return append(findings, d.CheckHosting(ctx)...)
}

// Print writes the findings, worst first among equals of order, and reports
// whether none is Broken.
func Print(w io.Writer, findings []Finding) (healthy bool) {
	healthy = true
	for _, f := range findings {
		fmt.Fprintf(w, "%-8s %s: %s\n", f.Level, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(w, "         → %s\n", f.Fix)
		}
		healthy = healthy && f.Level != Broken
	}
	return healthy
}

func fine(check, format string, args ...any) Finding {
	return Finding{Level: Fine, Check: check, Text: fmt.Sprintf(format, args...)}
}

func broken(check, fix, format string, args ...any) Finding {
	return Finding{Level: Broken, Check: check, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func warning(check, fix, format string, args ...any) Finding {
	return Finding{Level: Warning, Check: check, Text: fmt.Sprintf(format, args...), Fix: fix}
}
