package login_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/login"
)

const ownOrigin = "https://atoll.example.org"

func TestReturnToKeepsOwnPagesAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, want string }{
		{"", "/"},
		{"/", "/"},
		{"/discover", "/discover"},
		{"/discover?sort=new&x=%2F%2Fevil", "/discover?sort=new&x=%2F%2Fevil"},
		{"/c/commons/?page=2#top", "/c/commons/?page=2"},
		{"/post/at:%2F%2Fx", "/"},
		{ownOrigin + "/account", "/account"},
		{ownOrigin, "/"},
		{"/ü", "/%C3%BC"},
		// The forms that S12 names.
		{"//evil.example", "/"},
		{`/\evil.example`, "/"},
		{ownOrigin + "//evil.example", "/"},
		{"/.//evil.example", "/"},
		{"/\t/evil.example", "/"},
		{"/\n/evil.example", "/"},
		{"\x00/", "/"},
		{"javascript:alert(1)", "/"},
		{"https://evil.example/", "/"},
		{"data:text/html,x", "/"},
		// And their relatives.
		{"///evil.example", "/"},
		{"/..//evil.example", "/"},
		{"/a/..//evil.example", "/"},
		{"/%2e//evil.example", "/"},
		{"/%2f/evil.example", "/"},
		{"/%5cevil.example", "/"},
		{"/%09/evil.example", "/"},
		{`\\evil.example`, "/"},
		{`\/evil.example`, "/"},
		{" //evil.example", "/"},
		{" /account", "/"},
		{"/\u2028/evil.example", "/"},
		{"account", "/"},
		{"?x=1", "/"},
		{"https:/evil.example", "/"},
		{"https:evil.example", "/"},
		{"HTTPS://evil.example", "/"},
		{ownOrigin + ".evil.example/", "/"},
		{ownOrigin + "@evil.example/", "/"},
		{"https://x@atoll.example.org/", "/"},
		{"//atoll.example.org/account", "/"},
		{"/oauth/login?handle=somebody.example", "/"},
		{"/x/../oauth/login", "/"},
		{"/" + strings.Repeat("a", 3000), "/"},
		{"/%zz", "/"},
		{"/\xff", "/"},
		{"/?q=\xff", "/"},
		{"/" + strings.Repeat("ü", 500), "/"}, // too long once encoded
	}
	for _, tc := range tests {
		if got := login.ReturnTo(tc.raw, ownOrigin); got != tc.want {
			t.Errorf("ReturnTo(%q) = %q, want %q", tc.raw, got, tc.want)
		}
	}
}

// browserReads does what the WHATWG URL standard says a browser does with a
// relative reference before it looks for a host: trim, drop tabs and line
// ends, read backslashes as slashes.
func browserReads(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= 0x20 })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(s)
	return s
}

// withoutDots removes dot segments the way browsers do, %2e included, keeping
// empty segments.
func withoutDots(p string) string {
	var out []string
	for _, segment := range strings.Split(strings.TrimPrefix(p, "/"), "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{
		"/", "//x", `/\x`, ownOrigin + "//x", "/.//x", "/\t/x", "javascript:x", "/%2e%2e//x", "/a?b=//c", "/%5c", ownOrigin + "/ok", "/\x7f", "/a/%2F%2Fb", "/..;//x",
	} {
		f.Add(seed)
	}
	base, err := url.Parse(ownOrigin)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := login.ReturnTo(raw, ownOrigin)
		read := browserReads(got)
		if read != got {
			t.Fatalf("ReturnTo(%q) = %q, which a browser reads as %q", raw, got, read)
		}
		p, _, _ := strings.Cut(got, "?")
		if final := withoutDots(p); !strings.HasPrefix(final, "/") || strings.HasPrefix(final, "//") {
			t.Fatalf("ReturnTo(%q) = %q, whose path becomes %q", raw, got, final)
		}
		ref, err := base.Parse(got)
		if err != nil || ref.Scheme != "https" || ref.Host != base.Host || ref.User != nil || strings.HasPrefix(ref.Path, "//") {
			t.Fatalf("ReturnTo(%q) = %q, which leads to %v (%v)", raw, got, ref, err)
		}
		if again := login.ReturnTo(got, ownOrigin); again != got {
			t.Fatalf("ReturnTo is not settled: %q → %q → %q", raw, got, again)
		}
	})
}
