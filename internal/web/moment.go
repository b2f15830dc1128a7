package web

import "time"

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

// endOf describes a time until which something holds.
func endOf(t, now time.Time) moment {
	m := momentOf(t, now)
	left := t.Sub(now)
	switch {
	case left < time.Hour:
		m.Relative = "within the hour"
	case left < 48*time.Hour:
		m.Relative = "in " + counted(int64(left/time.Hour), "hour")
	case left < 61*24*time.Hour:
		m.Relative = "in " + counted(int64(left/(24*time.Hour)), "day")
	default:
		m.Relative = "on " + t.UTC().Format("2 January 2006")
	}
	return m
}

func relative(t, now time.Time) string {
	age := now.Sub(t)
	switch {
	case age < time.Minute:
		return "just now"
	case age < time.Hour:
		return counted(int64(age/time.Minute), "minute") + " ago"
	case age < 24*time.Hour:
		return counted(int64(age/time.Hour), "hour") + " ago"
	case age < 31*24*time.Hour:
		return counted(int64(age/(24*time.Hour)), "day") + " ago"
	default:
		return "on " + t.Format("2 January 2006")
	}
}
