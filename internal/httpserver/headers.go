package httpserver

import (
	"net/http"
	"strings"
)

// contentPolicy lets a page load only what this server itself serves, and be
// framed by nobody; ownForms lets its forms lead nowhere else.
const (
	contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; " +
		"frame-ancestors 'none'; base-uri 'none'"
	ownForms = "; form-action 'self'"
)

// twoYears is what browsers ask for before they keep a host on their own list.
const twoYears = "max-age=63072000"

// FormsLeadElsewhere lets the forms of the page that h belongs to end at other
// origins: at those that are named, or at any. It is for pages with a form whose
// answer redirects, as that of signing in does to the member's own PDS, which
// nobody can name beforehand: browsers apply the limit to redirects too (CSP
// level 3, section 6.4.1).
func FormsLeadElsewhere(h http.Header, origins ...string) {
	policy := contentPolicy
	if len(origins) > 0 {
		policy += ownForms + " " + strings.Join(origins, " ")
	}
	h.Set("Content-Security-Policy", policy)
}

// SecurityHeaders sets the headers that every answer carries. https says that
// browsers reach this server by https, and makes them remember it.
func SecurityHeaders(https bool) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", contentPolicy+ownForms)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "same-origin")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			if https {
				h.Set("Strict-Transport-Security", twoYears)
			}
			next.ServeHTTP(w, r)
		})
	}
}
