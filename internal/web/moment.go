package web

import (
	"fmt"
	"time"
)

// moment is a point in time as pages show it.
type moment struct {
	ISO      string // RFC 3339, UTC, for machines
	Full     string // date and time in words
	Relative string // "5 minutes ago"; after a month, the date
}

// momentOf describes t as seen at now. A time in the future is "just now":
// clocks differ, and people shall not wonder.
func momentOf(t, now time.Time) moment {
	t = t.UTC()
	return moment{
		ISO:      t.Format("2006-01-02T15:04:05Z"),
		Full:     t.Format("2 January 2006, 15:04 UTC"),
		Relative: relative(t, now),
	}
}

func relative(t, now time.Time) string {
	age := now.Sub(t)
	switch {
	case age < time.Minute:
		return "just now"
	case age < time.Hour:
		return countAgo(int(age/time.Minute), "minute")
	case age < 24*time.Hour:
		return countAgo(int(age/time.Hour), "hour")
	case age < 31*24*time.Hour:
		return countAgo(int(age/(24*time.Hour)), "day")
	default:
		return "on " + t.Format("2 January 2006")
	}
}

func countAgo(n int, unit string) string {
	if n == 1 {
		return "1 " + unit + " ago"
	}
	return fmt.Sprintf("%d %ss ago", n, unit)
}
