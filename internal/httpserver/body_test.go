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
	const much = 1 << 20
	// A client may still read a body that the server has answered about, so that
	// each request has its own.
	tests := []struct {
		name, path string
		size       int
		undeclared bool
		want       int
	}{
		{"none", "/", 0, false, 200},
		{"exact", "/", 10, false, 200},
		{"declared", "/", 11, false, 413},
		{"undeclared", "/", 11, true, 413},
		{"huge", "/", much, false, 413},
		{"huge and undeclared", "/", much, true, 413},
		{"not read", "/ignore", 11, false, 200},
	}
	for _, test := range tests {
		for proto, set := range protocols {
			var body io.Reader
			if test.size > 0 {
				body = strings.NewReader(strings.Repeat("x", test.size))
			}
			if test.undeclared {
				body = io.MultiReader(body)
			}
			resp, err := clientFor(t, set).Post(server.URL+test.path, "text/plain", body)
			if err != nil {
				t.Errorf("%s by %s = %v", test.name, proto, err)
				continue
			}
			answer, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != test.want || (test.want == 413 && !strings.Contains(string(answer), "10 bytes")) {
				t.Errorf("%s by %s = %d %q, want %d", test.name, proto, resp.StatusCode, answer, test.want)
			}
		}
	}
}
