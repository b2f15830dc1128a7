package pds_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/pds"
)

const (
	goodURI = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/3lzyxw2222222"
	goodCID = "bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee"
	goodRev = "3lzyxw3333333"
)

func place() pds.Place {
	return pds.Place{
		Repo: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Collection: "social.coves.community.postv2", RKey: "3lzyxw2222222",
	}
}

// exchange is one call that a fake server has seen.
type exchange struct {
	Method, Path, Query, ContentType string
	Body                             map[string]any
}

// serve starts a server that answers every call the same way, and returns a
// client for it and the calls it saw.
func serve(t *testing.T, answer http.HandlerFunc) (*pds.Client, <-chan exchange) {
	t.Helper()
	calls := make(chan exchange, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		call := exchange{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, ContentType: r.Header.Get("Content-Type")}
		if body, _ := io.ReadAll(r.Body); len(body) > 0 {
			json.Unmarshal(body, &call.Body)
		}
		calls <- call
		answer(rw, r)
	}))
	t.Cleanup(server.Close)
	return client(t, server.URL, server.Client()), calls
}

func client(t *testing.T, origin string, doer pds.Doer) *pds.Client {
	t.Helper()
	c, err := pds.New(pds.Config{Origin: origin, HTTP: doer, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("New(%s): %v", origin, err)
	}
	return c
}

var now = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// says answers with a status, JSON, and headers in pairs.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		for i := 0; i < len(headers); i += 2 {
			rw.Header().Set(headers[i], headers[i+1])
		}
		rw.WriteHeader(status)
		fmt.Fprint(rw, body)
	}
}
