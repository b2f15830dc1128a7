package pds_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

// Every result of A6 that a server can cause is told apart.
func TestRefusalsAreTyped(t *testing.T) {
	t.Parallel()
	inAMinute := fmt.Sprint(now.Add(time.Minute).Unix())
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		want    pds.Error
		kind    fault.Kind
		says    string
		unclear bool
	}{
		{"refused with words", says(400, `{"error":"InvalidRequest","message":"Record/title must be a string"}`),
			pds.Error{Status: 400, Name: "InvalidRequest", Message: "Record/title must be a string"}, fault.Invalid, "“Record/title must be a string”", false},
		{"rate limited as the official server does", says(429, `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`,
			"RateLimit-Limit", "5000", "RateLimit-Remaining", "0", "RateLimit-Reset", inAMinute, "RateLimit-Policy", "5000;w=3600"),
			pds.Error{Status: 429, Name: "RateLimitExceeded", Message: "Rate Limit Exceeded", RetryAfter: time.Minute}, fault.Limited, "takes no more", false},
		{"rate limited, reset in seconds", says(429, ``, "RateLimit-Reset", "90"),
			pds.Error{Status: 429, RetryAfter: 90 * time.Second}, fault.Limited, "takes no more", false},
		{"rate limited, both headers", says(429, ``, "Retry-After", "5", "RateLimit-Reset", inAMinute),
			pds.Error{Status: 429, RetryAfter: 5 * time.Second}, fault.Limited, "takes no more", false},
		{"rate limited, as a date", says(429, ``, "Retry-After", now.Add(2*time.Minute).Format(http.TimeFormat)),
			pds.Error{Status: 429, RetryAfter: 2 * time.Minute}, fault.Limited, "takes no more", false},
		{"rate limited, no word when", says(429, ``), pds.Error{Status: 429}, fault.Limited, "takes no more", false},
		{"rate limited until the past", says(429, ``, "RateLimit-Reset", "1700000000", "Retry-After", "-5"),
			pds.Error{Status: 429}, fault.Limited, "takes no more", false},
		{"rate limited for ever", says(429, ``, "Retry-After", "9223372036854775807"),
			pds.Error{Status: 429, RetryAfter: 24 * time.Hour}, fault.Limited, "takes no more", false},
		{"headers that mean nothing", says(400, ``, "RateLimit-Reset", inAMinute, "Retry-After", "soon"), pds.Error{Status: 400}, fault.Invalid, "refused this.", false},
		{"no such record", says(400, `{"error":"RecordNotFound","message":"Could not locate record"}`),
			pds.Error{Status: 400, Name: "RecordNotFound", Message: "Could not locate record"}, fault.NotFound, "no such record", false},
		{"unauthenticated", says(401, `{"error":"AuthenticationRequired","message":"x"}`),
			pds.Error{Status: 401, Name: "AuthenticationRequired", Message: "x"}, fault.Unauthenticated, "sign in again", false},
		{"forbidden", says(403, `{"error":"AccountTakedown","message":"Account has been taken down"}`),
			pds.Error{Status: 403, Name: "AccountTakedown", Message: "Account has been taken down"}, fault.Forbidden, "“Account has been taken down”", false},
		{"its own fault", says(500, `{"error":"InternalServerError","message":"secret detail"}`, "Retry-After", "3"),
			pds.Error{Status: 500, Name: "InternalServerError", Message: "secret detail", RetryAfter: 3 * time.Second}, fault.Unavailable, "has a problem", true},
		{"a page of the proxy", says(502, `<html><script>alert(1)</script></html>`), pds.Error{Status: 502}, fault.Unavailable, "has a problem", true},
		{"nothing at all", says(413, ``), pds.Error{Status: 413}, fault.Invalid, "refused this.", false},
		{"JSON of another kind", says(400, `{"error":{"code":3},"message":"x"}`), pds.Error{Status: 400}, fault.Invalid, "refused this.", false},
		{"a name that is none", says(400, `{"error":"<b>no</b>","message":"x"}`), pds.Error{Status: 400, Message: "x"}, fault.Invalid, "“x”", false},
		{"words meant to mislead", says(400, `{"error":"E","message":"a\u202e\u0000\n\tb\u200b c"}`), pds.Error{Status: 400, Name: "E", Message: "a b c"}, fault.Invalid, "“a b c”", false},
		{"too many words", says(400, `{"error":"E","message":"`+strings.Repeat("ä", 500)+`"}`),
			pds.Error{Status: 400, Name: "E", Message: strings.Repeat("ä", 300) + "…"}, fault.Invalid, "ä…”", false},
		{"an endless error", says(400, `{"error":"E","message":"`+strings.Repeat("a", 1<<20)+`"}`), pds.Error{Status: 400}, fault.Invalid, "refused this.", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := serve(t, tt.answer)
			_, err := c.GetRecord(t.Context(), place())
			var got *pds.Error
			if !errors.As(err, &got) {
				t.Fatalf("GetRecord = %v, want a *pds.Error", err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if errors.Is(err, pds.ErrRecordNotFound) != (tt.kind == fault.NotFound) {
				t.Errorf("errors.Is(ErrRecordNotFound) = %v", !(tt.kind == fault.NotFound))
			}
			f := pds.Fault(err)
			if f.Kind != tt.kind || !strings.Contains(f.Public, tt.says) || strings.Contains(f.Public, "secret") || !errors.Is(f, got) {
				t.Errorf("Fault = %v %q, want %v with %q", f.Kind, f.Public, tt.kind, tt.says)
			}
			if tt.kind == fault.Limited && f.RetryAfter != tt.want.RetryAfter {
				t.Errorf("Fault says to wait %v, want %v", f.RetryAfter, tt.want.RetryAfter)
			}
			if pds.Unclear(err) != tt.unclear {
				t.Errorf("Unclear = %v, want %v", pds.Unclear(err), tt.unclear)
			}
		})
	}
}

func TestFaultOfOtherErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		kind fault.Kind
	}{
		{fmt.Errorf("call: %w", pds.ErrUnreachable), fault.Unavailable},
		{fmt.Errorf("call: %w", pds.ErrBadAnswer), fault.Unavailable},
		{errors.New("secret detail"), fault.Internal},
	}
	for _, tt := range tests {
		if f := pds.Fault(tt.err); f.Kind != tt.kind || strings.Contains(f.Public, "secret") || !errors.Is(f, tt.err) {
			t.Errorf("Fault(%v) = %v %q, want %v", tt.err, f.Kind, f.Public, tt.kind)
		}
	}
	if pds.Fault(nil) != nil || pds.Unclear(nil) {
		t.Error("Fault(nil) or Unclear(nil) sees an error")
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"error":"InvalidRequest","message":"no"}`), "5")
	f.Add([]byte(`<html>`), "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add([]byte("{\"message\":\"\xff\\u202e\"}"), "-1")
	f.Fuzz(func(t *testing.T, body []byte, after string) {
		e := pds.ReadError(429, body, after, now)
		for _, r := range e.Message {
			if r < ' ' || r == '\u202e' || r == '\u200b' {
				t.Fatalf("message %q of %q is not safe to show", e.Message, body)
			}
		}
		if e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
			t.Fatalf("wait of %v from %q", e.RetryAfter, after)
		}
	})
}
