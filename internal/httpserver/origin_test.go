package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/httpserver"
)

func TestOnlyOurOwnPagesChangeState(t *testing.T) {
	t.Parallel()
	origins, err := httpserver.NewOrigins("https://atoll.example")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		method  string
		headers string // name=value, separated by |
		want    int
	}{
		{"same origin", "POST", "Sec-Fetch-Site=same-origin|Origin=https://atoll.example|Cookie=a=b", 200},
		{"same origin without fetch metadata", "POST", "Origin=https://atoll.example|Cookie=a=b", 200},
		{"origin of the request's host", "POST", "Origin=http://inner:8080|Cookie=a=b", 403},
		{"typed by the member", "POST", "Sec-Fetch-Site=none|Cookie=a=b", 200},
		{"cross site", "POST", "Sec-Fetch-Site=cross-site|Origin=https://evil.example|Cookie=a=b", 403},
		{"same site, other origin", "POST", "Sec-Fetch-Site=same-site|Origin=https://x.atoll.example|Cookie=a=b", 403},
		{"cross site without cookie", "POST", "Sec-Fetch-Site=cross-site|Origin=https://evil.example", 403},
		{"foreign origin in an old browser", "POST", "Origin=https://evil.example|Cookie=a=b", 403},
		{"lookalike origin", "POST", "Origin=https://atoll.example.evil.example|Cookie=a=b", 403},
		{"our name by plain http", "POST", "Origin=http://atoll.example|Cookie=a=b", 403},
		{"our name at another port", "POST", "Origin=https://atoll.example:444|Cookie=a=b", 403},
		{"opaque origin", "POST", "Origin=null|Cookie=a=b", 403},
		{"opaque origin, cross site", "POST", "Origin=null|Sec-Fetch-Site=cross-site|Cookie=a=b", 403},
		{"cookie and nothing else", "POST", "Cookie=a=b", 403},
		{"empty cookie and nothing else", "POST", "Cookie=", 403},
		{"program without cookie", "POST", "", 200},
		{"put", "PUT", "Sec-Fetch-Site=cross-site|Cookie=a=b", 403},
		{"delete", "DELETE", "Cookie=a=b", 403},
		{"patch", "PATCH", "Cookie=a=b", 403},
		{"unknown method", "BREW", "Cookie=a=b", 403},
		{"get from elsewhere", "GET", "Sec-Fetch-Site=cross-site|Origin=https://evil.example|Cookie=a=b", 200},
		{"get without anything", "GET", "Cookie=a=b", 200},
		{"head", "HEAD", "Sec-Fetch-Site=cross-site|Cookie=a=b", 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reached := false
			h := httpserver.Handler(httpserver.RenderText, func(_ http.ResponseWriter, r *http.Request) error {
				err := origins.Check(r)
				reached = err == nil
				return err
			})
			r := httptest.NewRequest(test.method, "http://inner:8080/", nil)
			for _, header := range strings.Split(test.headers, "|") {
				if name, value, ok := strings.Cut(header, "="); ok {
					r.Header.Add(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.want || reached != (test.want == 200) {
				t.Errorf("%s with %s = %d, reached %t; want %d", test.method, test.headers, w.Code, reached, test.want)
			}
		})
	}
}

func TestNewOriginsRefusesWhatIsNoOrigin(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "atoll.example", "https://atoll.example/path", "https://"} {
		if _, err := httpserver.NewOrigins(bad); err == nil {
			t.Errorf("NewOrigins(%q) succeeded", bad)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	for _, https := range []bool{false, true} {
		w := httptest.NewRecorder()
		httpserver.SecurityHeaders(https)(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; " +
				"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if got := w.Header().Get("Strict-Transport-Security"); (got != "") != https {
			t.Errorf("Strict-Transport-Security = %q with https %t", got, https)
		}
	}
}

// A page whose form leads elsewhere gives up that one limit and no other.
func TestFormsLeadElsewhere(t *testing.T) {
	t.Parallel()
	const rest = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
	for _, tt := range []struct {
		origins []string
		want    string
	}{
		{nil, rest},
		{[]string{"http://127.0.0.1:4000", "https://a.example"}, rest + "; form-action 'self' http://127.0.0.1:4000 https://a.example"},
	} {
		w := httptest.NewRecorder()
		page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { httpserver.FormsLeadElsewhere(w.Header(), tt.origins...) })
		httpserver.SecurityHeaders(true)(page).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if got := w.Header().Get("Content-Security-Policy"); got != tt.want {
			t.Errorf("forms to %v: Content-Security-Policy = %q, want %q", tt.origins, got, tt.want)
		}
	}
}

func TestLocalhostIsRedirectedToTheAddress(t *testing.T) {
	t.Parallel()
	h := httpserver.LocalhostRedirect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	for _, test := range []struct{ method, host, path, want string }{
		{"GET", "localhost:8080", "/a?b=c%26d", "http://127.0.0.1:8080/a?b=c%26d"},
		{"GET", "LOCALHOST.", "/", "http://127.0.0.1/"},
		{"HEAD", "localhost", "/", "http://127.0.0.1/"},
		{"GET", "localhost:8080", "//evil.example/x", "http://127.0.0.1:8080//evil.example/x"},
		{"POST", "localhost:8080", "/a", ""},
		{"GET", "127.0.0.1:8080", "/a", ""},
		{"GET", "[::1]:8080", "/a", ""},
		{"GET", "localhost.evil.example", "/a", ""},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		r.Host = test.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != test.want || (w.Code == 307) != (test.want != "") {
			t.Errorf("%s %s%s = %d to %q, want %q", test.method, test.host, test.path, w.Code, got, test.want)
		}
	}
}
