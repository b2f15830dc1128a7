package doctor_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atoll-social/atoll/internal/doctor"
)

// instance is a published instance whose answers a test can spoil.
func instance(t *testing.T, spoil map[string]http.HandlerFunc) *doctor.Doctor {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	serve := func(path, body string) {
		handler := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			fmt.Fprint(w, body)
		}
		if spoiled, ok := spoil[path]; ok {
			handler = spoiled
		}
		mux.HandleFunc(path, handler)
	}
	serve("/oauth-client-metadata.json", `{"client_id":"`+server.URL+`/oauth-client-metadata.json"}`)
	serve("/oauth/jwks.json", `{"keys":[{"kty":"EC","kid":"a"}]}`)
	serve("/.well-known/did.json", `{"id":"did:web:`+strings.ReplaceAll(host, ":", "%3A")+`"}`)
	serve("/_health", `{}`)
	serve("/xrpc/com.atproto.sync.listRepos", `{"repos":[]}`)
	subscribe := func(w http.ResponseWriter, r *http.Request) { _, _ = websocket.Accept(w, r, nil) } // refuses what is no WebSocket
	if spoiled, ok := spoil["/subscribe"]; ok {
		subscribe = spoiled
	}
	mux.HandleFunc("/subscribe", subscribe)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &doctor.Doctor{
		HTTP: client, PublicURL: server.URL, ClientID: server.URL + "/oauth-client-metadata.json",
		PLCURL: server.URL, Sources: []string{server.URL}, Streams: []string{server.URL + "/subscribe"}, Now: time.Now,
	}
}

func TestAHealthyInstance(t *testing.T) {
	t.Parallel()
	findings := instance(t, nil).Check(t.Context())
	var out bytes.Buffer
	if !doctor.Print(&out, findings) || len(findings) != 8 {
		t.Errorf("a healthy instance: %d findings\n%s", len(findings), out.String())
	}
}

func TestWhatBreaks(t *testing.T) {
	t.Parallel()
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://www.example.org"+r.URL.Path, http.StatusMovedPermanently)
	}
	cases := []struct{ name, path, check, says string }{
		{"metadata redirects", "/oauth-client-metadata.json", "client metadata", "redirects to https://www.example.org"},
		{"metadata missing", "/oauth-client-metadata.json", "client metadata", "status 404"},
		{"metadata as HTML", "/oauth-client-metadata.json", "client metadata", `served as "text/html"`},
		{"metadata of another", "/oauth-client-metadata.json", "client metadata", `client_id is "https://other.example.org/x"`},
		{"keys private", "/oauth/jwks.json", "client keys", "publishes a private key"},
		{"keys empty", "/oauth/jwks.json", "client keys", "has no key"},
		{"identity of another", "/.well-known/did.json", "instance identity", `of "did:web:other.example.org"`},
		{"identity is no JSON", "/.well-known/did.json", "instance identity", "not valid JSON"},
		{"directory down", "/_health", "PLC directory", "status 503"},
		{"source is no PDS", "/xrpc/com.atproto.sync.listRepos", "source", "status 404"},
		{"source is no Jetstream", "/subscribe", "source", "no stream: it answers with status 404"},
		{"source is down", "/subscribe", "source", "status 502"},
		{"clock off", "/_health", "clock", "off from"},
	}
	spoils := map[string]http.HandlerFunc{
		"metadata redirects":  redirect,
		"metadata missing":    answer(404, "application/json", "{}"),
		"metadata as HTML":    answer(200, "text/html", "<p>"),
		"metadata of another": answer(200, "application/json", `{"client_id":"https://other.example.org/x"}`),
		"keys private":        answer(200, "application/json", `{"keys":[{"kid":"a","d":"secret"}]}`),
		"keys empty":          answer(200, "application/json", `{"keys":[]}`),
		"identity of another": answer(200, "application/json", `{"id":"did:web:other.example.org"}`),
		"identity is no JSON": answer(200, "application/json", `{`),
		"directory down":      answer(503, "text/plain", ""),
		"source is no PDS":    answer(404, "text/html", ""),

		"source is no Jetstream": answer(404, "text/html", ""),
		"source is down":         answer(502, "text/html", ""),
		"clock off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			d := instance(t, map[string]http.HandlerFunc{c.path: spoils[c.name]})
			if doctor.Print(&out, d.Check(t.Context())) {
				t.Errorf("%s counts as healthy:\n%s", c.name, out.String())
			}
			if !hasLine(out.String(), c.check, c.says) || !strings.Contains(out.String(), "→") {
				t.Errorf("want a line about %q that says %q, with a fix; got:\n%s", c.check, c.says, out.String())
			}
		})
	}
}

func hasLine(text, check, says string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "broken") && strings.Contains(line, check) && strings.Contains(line, says) {
			return true
		}
	}
	return false
}

func TestADevelopmentClientPublishesNothing(t *testing.T) {
	t.Parallel()
	d := instance(t, nil)
	d.PublicURL, d.ClientID = "", "http://localhost?scope=atproto"
	if got := d.Published(t.Context()); len(got) != 1 || got[0].Level != doctor.Fine {
		t.Errorf("Published() without public_url = %+v, want one fine line", got)
	}
}
