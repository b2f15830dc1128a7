package httpserver_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/httpserver"
)

var page = "<p>" + strings.Repeat("the same words ", 500)

// compressing serves h as the program does: inside of the log, outside of errors.
func compressing(t *testing.T, h httpserver.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(httpserver.Chain(httpserver.Handler(httpserver.RenderText, h),
		httpserver.AccessLog(slog.New(slog.DiscardHandler)), httpserver.Compress, httpserver.Recover(httpserver.RenderText)))
	t.Cleanup(s.Close)
	return s
}

// askRaw sends a request with exactly these headers and returns the body as it came.
func askRaw(t *testing.T, method, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func unzip(t *testing.T, body []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCompress(t *testing.T) {
	t.Parallel()
	const html = "text/html; charset=utf-8"
	tests := []struct {
		name, method, kind string
		body               string
		status             int
		headers            []string // of the request
		answer             []string // more headers of the answer
		packed             bool
	}{
		{"a page", "GET", html, page, 200, []string{"Accept-Encoding", "gzip, deflate, br, zstd"}, nil, true},
		{"an error page", "GET", html, page, 404, []string{"Accept-Encoding", "gzip"}, nil, true},
		{"an API answer", "GET", "application/json", page, 200, []string{"Accept-Encoding", "br;q=1.0, GZIP;q=0.5"}, nil, true},
		{"in two headers", "GET", html, page, 200, []string{"Accept-Encoding", "br", "Accept-Encoding", "gzip"}, nil, true},
		{"with a length", "GET", html, page, 200, []string{"Accept-Encoding", "gzip"}, []string{"Content-Length", "7503"}, true},
		{"nothing taken", "GET", html, page, 200, nil, nil, false},
		{"refused", "GET", html, page, 200, []string{"Accept-Encoding", "gzip;q=0, br"}, nil, false},
		{"refused with zeros", "GET", html, page, 200, []string{"Accept-Encoding", "gzip; q=0.000"}, nil, false},
		{"nonsense", "GET", html, page, 200, []string{"Accept-Encoding", "gzip;q=much,,;"}, nil, false},
		{"another name", "GET", html, page, 200, []string{"Accept-Encoding", "x-gzip, gzipped"}, nil, false},
		{"small", "GET", html, "<p>little", 200, []string{"Accept-Encoding", "gzip"}, nil, false},
		{"a picture", "GET", "image/png", page, 200, []string{"Accept-Encoding", "gzip"}, nil, false},
		{"no kind", "GET", "", page, 200, []string{"Accept-Encoding", "gzip"}, nil, false},
		{"packed already", "GET", html, page, 200, []string{"Accept-Encoding", "gzip"}, []string{"Content-Encoding", "br"}, false},
		{"a part", "GET", html, page, 206, []string{"Accept-Encoding", "gzip", "Range", "bytes=0-"}, nil, false},
		{"a form's answer", "POST", html, page, 200, []string{"Accept-Encoding", "gzip"}, nil, false},
		{"headers only", "HEAD", html, "", 200, []string{"Accept-Encoding", "gzip"}, nil, false},
		{"nothing", "GET", "", "", 204, []string{"Accept-Encoding", "gzip"}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compressing(t, func(w http.ResponseWriter, _ *http.Request) error {
				w.Header()["Content-Type"] = []string{tt.kind}
				w.Header().Set("ETag", `"v1"`)
				for i := 0; i < len(tt.answer); i += 2 {
					w.Header().Set(tt.answer[i], tt.answer[i+1])
				}
				w.WriteHeader(tt.status)
				_, err := io.WriteString(w, tt.body)
				return err
			})
			resp, body := askRaw(t, tt.method, s.URL, tt.headers...)
			got := string(body)
			if packed := resp.Header.Get("Content-Encoding") == "gzip"; packed != tt.packed {
				t.Fatalf("compressed: %t, want %t", packed, tt.packed)
			}
			if tt.packed {
				if resp.ContentLength >= 0 && resp.ContentLength != int64(len(body)) || len(body) > len(tt.body)/5 || resp.Header.Get("Vary") != "Accept-Encoding" {
					t.Errorf("%d bytes of %d, %v", len(body), len(tt.body), resp.Header)
				}
				got = unzip(t, body)
			}
			if resp.StatusCode != tt.status || got != tt.body {
				t.Errorf("status %d with %d bytes, want %d with %d", resp.StatusCode, len(got), tt.status, len(tt.body))
			}
		})
	}
}

// A page and what it is made of come in pieces of any size.
func TestCompressedPieces(t *testing.T) {
	t.Parallel()
	s := compressing(t, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/plain")
		for i := 0; i < len(page); i += 2000 {
			if _, err := io.WriteString(w, page[i:min(len(page), i+2000)]); err != nil {
				return err
			}
		}
		return nil
	})
	_, body := askRaw(t, "GET", s.URL, "Accept-Encoding", "gzip")
	if diff := cmp.Diff(page, unzip(t, body)); diff != "" {
		t.Errorf("unpacked (-want +got):\n%s", diff)
	}
}

// TestCompressedVersions: what a client keeps compressed is still the version
// that it has.
func TestCompressedVersions(t *testing.T) {
	t.Parallel()
	s := compressing(t, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("ETag", `"v1"`)
		if httpserver.Unchanged(r, `"v1"`) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.Header().Set("Content-Type", "text/html")
		_, err := io.WriteString(w, page)
		return err
	})
	first, _ := askRaw(t, "GET", s.URL, "Accept-Encoding", "gzip")
	if got := first.Header.Get("ETag"); got != `W/"v1"` {
		t.Errorf("ETag of a compressed answer: %s, want a weak one", got)
	}
	for _, have := range []string{`W/"v1"`, `"v1"`, `"v0", W/"v1"`, "*"} {
		if resp, body := askRaw(t, "GET", s.URL, "Accept-Encoding", "gzip", "If-None-Match", have); resp.StatusCode != http.StatusNotModified ||
			len(body) > 0 || resp.Header.Get("Vary") != "Accept-Encoding" || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("If-None-Match %s: %s %v with %d bytes, want 304", have, resp.Status, resp.Header, len(body))
		}
	}
	for _, have := range []string{`"v2"`, `v1`, `W/"v"`, ""} {
		if resp, _ := askRaw(t, "GET", s.URL, "If-None-Match", have); resp.StatusCode != http.StatusOK {
			t.Errorf("If-None-Match %s: %s, want 200", have, resp.Status)
		}
	}
}

// TestCompressedFailures: an error after the status was chosen is an error page,
// and one after bytes went out cuts the connection: half an answer never looks
// whole.
func TestCompressedFailures(t *testing.T) {
	t.Parallel()
	s := compressing(t, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusOK)
		if r.URL.Path == "/late" {
			_, _ = io.WriteString(w, page)
		}
		return errors.New("broken")
	})
	if resp, body := askRaw(t, "GET", s.URL, "Accept-Encoding", "gzip"); resp.StatusCode != http.StatusInternalServerError || len(body) == 0 {
		t.Errorf("an error before the body: %s %q, want 500", resp.Status, body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/late", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(r); err == nil { // it unpacks by itself
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			t.Error("half an answer was taken for a whole one")
		}
	}
}

// TestCompressedStreams: what is flushed goes out at once, and deadlines reach
// through.
func TestCompressedStreams(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := compressing(t, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		if err := control.SetWriteDeadline(time.Time{}); err != nil {
			return err
		}
		if _, err := io.WriteString(w, strings.Repeat("first ", 1000)); err != nil {
			return err
		}
		if err := control.Flush(); err != nil {
			return err
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return nil
	})
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 6000)
	if _, err := io.ReadFull(resp.Body, first); err != nil || !strings.HasPrefix(string(first), "first first") {
		t.Errorf("the first piece: %.20q %v", first, err)
	}
	close(release)
}
