package httpserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/httpserver"
)

func TestBodiesOverTheLimitAre413(t *testing.T) {
	t.Parallel()
	h := httpserver.Chain(httpserver.Handler(httpserver.RenderText, func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path == "/ignore" {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		_, err = w.Write(body)
		return err
	}), httpserver.Recover(httpserver.RenderText), httpserver.MaxBody(10))
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	tests := []struct {
		name, path string
		body       io.Reader
		want       int
	}{
		{"none", "/", nil, 200},
		{"exact", "/", strings.NewReader("0123456789"), 200},
		{"declared", "/", strings.NewReader("0123456789x"), 413},
		{"undeclared", "/", io.MultiReader(strings.NewReader("0123456789x")), 413},
		{"huge", "/", strings.NewReader(strings.Repeat("x", 1<<20)), 413},
		{"huge and undeclared", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20))), 413},
		{"not read", "/ignore", strings.NewReader("0123456789x"), 200},
	}
	for _, test := range tests {
		for proto, set := range protocols {
			if seeker, ok := test.body.(io.Seeker); ok {
				_, _ = seeker.Seek(0, io.SeekStart)
			} else if test.body != nil && proto != "HTTP/1.1" {
				continue // its reader is used up
			}
			resp, err := clientFor(t, set).Post(server.URL+test.path, "text/plain", test.body)
			if err != nil {
				t.Errorf("%s by %s = %v", test.name, proto, err)
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != test.want || (test.want == 413 && !strings.Contains(string(body), "10 bytes")) {
				t.Errorf("%s by %s = %d %q, want %d", test.name, proto, resp.StatusCode, body, test.want)
			}
		}
	}
}
