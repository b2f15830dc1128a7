package httpserver

import (
	"net/http"
	"strings"
)

// Unchanged reports whether the client already has the answer with this ETag,
// which stands in quotes, so that 304 is the answer (RFC 9110, section 13.1.2:
// the weak comparison).
func Unchanged(r *http.Request, tag string) bool {
	for have := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		have = strings.TrimSpace(have)
		if have == "*" || strings.TrimPrefix(have, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
