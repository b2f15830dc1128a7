package httpserver

import "net/http"

// contentPolicy lets a page load only what this server itself serves, and be
// framed by nobody. form-action is left out on purpose: browsers apply it to
// redirects too, and the sign-in form is redirected to the member's own PDS.
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// twoYears is what browsers ask for before they keep a host on their own list.
const twoYears = "max-age=63072000"

// SecurityHeaders sets the headers that every answer carries. https says that
// browsers reach this server by https, and makes them remember it.
func SecurityHeaders(https bool) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", contentPolicy)
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
