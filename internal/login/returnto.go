package login

import (
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// maxReturn bounds a return address, in bytes; longer ones become "/".
const maxReturn = 2048

// ReturnTo turns an address that somebody wants to come back to into a path of
// this instance, with its query. origin is the instance's own, such as
// https://example.org; addresses under it are taken too. Whatever is not
// certainly a page of ours becomes "/": other hosts and schemes, addresses that
// browsers read as another host (//x, /\x, /.//x, control characters), and the
// sign-in endpoints themselves, which would go round in circles (S12).
func ReturnTo(raw, origin string) string {
	if raw == "" || len(raw) > maxReturn || unsafeText(raw) {
		return "/"
	}
	if rest, own := strings.CutPrefix(raw, origin+"/"); own && origin != "" {
		raw = "/" + rest
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	u.Fragment, u.RawFragment = "", ""
	result := u.String()
	// The result is what a browser will see, so it is what counts.
	if !isLocal(result) {
		return "/"
	}
	return result
}

// isLocal tells whether s is a path of this host to every reader of URLs.
func isLocal(s string) bool {
	if len(s) > maxReturn || unsafeText(s) || !strings.HasPrefix(s, "/") {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return false
	}
	// Decoded, so that %2e%2e, %2f and %5c are judged as what they may become.
	p := u.Path
	if unsafeText(p) || strings.Contains(p, "//") || strings.HasPrefix(p, "/oauth/") {
		return false
	}
	clean := path.Clean(p)
	return clean == p || clean+"/" == p
}

// unsafeText finds what readers of URLs disagree about: control characters,
// which some drop, the backslash, which some read as a slash, and bytes that
// are no UTF-8.
func unsafeText(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r == '\\' || r == '\u2028' || r == '\u2029' || (r >= 0x80 && r < 0xa0)
	}) || strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ")
}
