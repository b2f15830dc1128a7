package web

import (
	"testing"
	"time"
)

func TestMomentsInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	tests := []struct {
		ago  time.Duration
		want string
	}{
		{-time.Hour, "just now"},
		{0, "just now"},
		{59 * time.Second, "just now"},
		{time.Minute, "1 minute ago"},
		{59*time.Minute + 59*time.Second, "59 minutes ago"},
		{time.Hour, "1 hour ago"},
		{23 * time.Hour, "23 hours ago"},
		{24 * time.Hour, "1 day ago"},
		{30 * 24 * time.Hour, "30 days ago"},
		{31 * 24 * time.Hour, "on 11 February 2026"},
	}
	for _, tt := range tests {
		if got := momentOf(now.Add(-tt.ago), now).Relative; got != tt.want {
			t.Errorf("momentOf(%v ago) = %q, want %q", tt.ago, got, tt.want)
		}
	}
	m := momentOf(time.Date(2026, 3, 14, 17, 0, 0, 5, time.FixedZone("", 7200)), now)
	if m.ISO != "2026-03-14T15:00:00Z" || m.Full != "14 March 2026, 15:00 UTC" {
		t.Errorf("momentOf = %q, %q; want both in UTC", m.ISO, m.Full)
	}
}

func TestEndsInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Hour: "within the hour", 59 * time.Minute: "within the hour", time.Hour: "in 1 hour", 47 * time.Hour: "in 47 hours",
		48 * time.Hour: "in 2 days", 60 * 24 * time.Hour: "in 60 days", 61 * 24 * time.Hour: "on 14 May 2026",
	} {
		if got := endOf(now.Add(left), now).Relative; got != want {
			t.Errorf("endOf(%v ahead) = %q, want %q", left, got, want)
		}
	}
}

func TestDurationsInWords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		d    time.Duration
		want string
	}{{time.Millisecond, "1 second"}, {time.Second, "1 second"}, {1500 * time.Millisecond, "2 seconds"}, {119 * time.Second, "119 seconds"}, {121 * time.Second, "3 minutes"}}
	for _, tt := range tests {
		if got := duration(tt.d); got != tt.want {
			t.Errorf("duration(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}
