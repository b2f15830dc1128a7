package oauth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/atoll-social/atoll/oauth"
)

func TestErrorsCompareByCode(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("exchange code: %w", &oauth.Error{Code: oauth.InvalidGrant, Description: "code used", Status: 400})
	if !errors.Is(err, oauth.InvalidGrant) {
		t.Errorf("errors.Is(%v, InvalidGrant) = false", err)
	}
	if errors.Is(err, oauth.InvalidClient) {
		t.Errorf("errors.Is(%v, InvalidClient) = true", err)
	}
	if got, want := err.Error(), "exchange code: invalid_grant (400): code used"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestTextFromOutsideIsCutAndCleaned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"plain", "code expired", "code expired"},
		{"line breaks cannot forge log lines", "a\r\nlevel=error b", "a  level=error b"},
		{"escape sequences", "\x1b[31mred", "[31mred"},
		{"line separator", "a\u2028b", "a b"},
		{"not UTF-8", "a\xffb", "a b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := oauth.CleanDescription(c.in); got != c.want {
				t.Errorf("CleanDescription(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
	long := oauth.CleanDescription(strings.Repeat("ä", 5000))
	if len(long) > 300 || !utf8.ValidString(long) {
		t.Errorf("CleanDescription kept %d bytes (valid %v), want at most 300 valid ones", len(long), utf8.ValidString(long))
	}
}

func TestCodesFromOutsideAreChecked(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]oauth.Code{
		"invalid_grant":         oauth.InvalidGrant,
		"my_own":                "my_own",
		"":                      "unknown_error",
		"a\nb":                  "unknown_error",
		`a"b`:                   "unknown_error",
		strings.Repeat("x", 65): "unknown_error",
	} {
		if got := oauth.CleanCode(in); got != want {
			t.Errorf("CleanCode(%q) = %q, want %q", in, got, want)
		}
	}
}
