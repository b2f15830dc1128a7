package pds_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/pds"
)

func TestCreateRecord(t *testing.T) {
	t.Parallel()
	no := false
	tests := []struct {
		name     string
		validate *bool
		answer   string
		wantBody map[string]any
		want     pds.Written
	}{
		{"with commit", nil,
			`{"uri":"` + goodURI + `","cid":"` + goodCID + `","commit":{"cid":"bafyx","rev":"` + goodRev + `"},"validationStatus":"unknown"}`,
			map[string]any{
				"repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "collection": "social.coves.community.postv2", "rkey": "3lzyxw2222222",
				"record": map[string]any{"$type": "social.coves.community.postv2", "title": "a < b"},
			},
			pds.Written{URI: goodURI, CID: goodCID, Rev: goodRev}},
		{"without commit", &no,
			`{"uri":"` + goodURI + `","cid":"` + goodCID + `"}`,
			map[string]any{
				"repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "collection": "social.coves.community.postv2", "rkey": "3lzyxw2222222",
				"validate": false,
				"record":   map[string]any{"$type": "social.coves.community.postv2", "title": "a < b"},
			},
			pds.Written{URI: goodURI, CID: goodCID}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, calls := serve(t, says(200, tt.answer))
			got, err := c.CreateRecord(t.Context(), pds.CreateRecord{
				Place: place(), Validate: tt.validate,
				Record: map[string]any{"$type": "social.coves.community.postv2", "title": "a < b"},
			})
			if err != nil {
				t.Fatalf("CreateRecord: %v", err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			want := exchange{"POST", "/xrpc/com.atproto.repo.createRecord", "", "application/json", tt.wantBody}
			if diff := cmp.Diff(want, <-calls); diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreateRecordNeedsItsPlace(t *testing.T) {
	t.Parallel()
	c, calls := serve(t, says(200, `{}`))
	p := place()
	p.RKey = ""
	if _, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: p, Record: struct{}{}}); err == nil || len(calls) != 0 {
		t.Errorf("CreateRecord without a key = %v after %d calls, want an error and none", err, len(calls))
	}
}

func TestGetRecord(t *testing.T) {
	t.Parallel()
	c, calls := serve(t, says(200, `{"uri":"`+goodURI+`","cid":"`+goodCID+`","value":{"$type":"social.coves.community.postv2"}}`))
	got, err := c.GetRecord(t.Context(), place())
	if err != nil {
		t.Fatalf("GetRecord: %v", err)
	}
	if got.URI != goodURI || got.CID != goodCID || string(got.Value) != `{"$type":"social.coves.community.postv2"}` {
		t.Errorf("GetRecord = %+v", got)
	}
	want := exchange{
		Method: "GET", Path: "/xrpc/com.atproto.repo.getRecord",
		Query: "collection=social.coves.community.postv2&repo=did%3Aplc%3Aaaaaaaaaaaaaaaaaaaaaaaaa&rkey=3lzyxw2222222",
	}
	if diff := cmp.Diff(want, <-calls); diff != "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
}

func TestDescribeServer(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, says(200, `{"did":"did:web:pds.atoll-tests.net","availableUserDomains":[".one.test"],"links":{}}`))
	got, err := c.DescribeServer(t.Context())
	if err != nil || got.DID != "did:web:pds.atoll-tests.net" || !cmp.Equal(got.HandleDomains, []string{".one.test"}) {
		t.Errorf("DescribeServer = %+v, %v", got, err)
	}
	c, _ = serve(t, says(200, `{"did":"nobody"}`))
	if got, err := c.DescribeServer(t.Context()); !errors.Is(err, pds.ErrBadAnswer) {
		t.Errorf("DescribeServer(no DID) = %+v, %v; want ErrBadAnswer", got, err)
	}
}

// A good status is not enough: the answer has to be about the record that was
// meant, in the form that records have.
func TestAnswersThatNoPDSGives(t *testing.T) {
	t.Parallel()
	record := func(uri, cid, value string) string {
		return `{"uri":"` + uri + `","cid":"` + cid + `","value":` + value + `,"commit":{"rev":"` + goodRev + `"}}`
	}
	tests := map[string]http.HandlerFunc{
		"other repository": says(200, record(strings.Replace(goodURI, "aaa", "bbb", 1), goodCID, "{}")),
		"other collection": says(200, record(strings.Replace(goodURI, "postv2", "post", 1), goodCID, "{}")),
		"other key":        says(200, record(goodURI+"2", goodCID, "{}")),
		"no URI":           says(200, record("", goodCID, "{}")),
		"no CID":           says(200, record(goodURI, "", "{}")),
		"CID of a blob":    says(200, record(goodURI, strings.Replace(goodCID, "bafyrei", "bafkrei", 1), "{}")),
		"CID cut short":    says(200, record(goodURI, goodCID[:40], "{}")),
		"CID with a 1":     says(200, record(goodURI, goodCID[:58]+"1", "{}")),
		"empty":            says(200, ""),
		"broken JSON":      says(200, `{"uri":`),
		"two values":       says(200, record(goodURI, goodCID, "{}")+"{}"),
		"not UTF-8":        says(200, record(goodURI, goodCID, "{\"a\":\"\xff\"}")),
		"no content":       says(204, ""),
		"redirect":         says(307, ""),
		"HTML": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprint(rw, "<!doctype html>")
		},
		"JSON that calls itself HTML": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprint(rw, record(goodURI, goodCID, "{}"))
		},
		"endless": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(rw, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := serve(t, answer)
			written, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}})
			if !errors.Is(err, pds.ErrBadAnswer) || !pds.Unclear(err) {
				t.Errorf("CreateRecord = %+v, %v; want ErrBadAnswer, to be looked up", written, err)
			}
			if got, err := c.GetRecord(t.Context(), place()); !errors.Is(err, pds.ErrBadAnswer) {
				t.Errorf("GetRecord = %+v, %v; want ErrBadAnswer", got, err)
			}
		})
	}
	c, _ := serve(t, says(200, record(goodURI, goodCID, `["x"]`)))
	if got, err := c.GetRecord(t.Context(), place()); !errors.Is(err, pds.ErrBadAnswer) {
		t.Errorf("GetRecord(no object) = %+v, %v; want ErrBadAnswer", got, err)
	}
	c, _ = serve(t, says(200, `{"uri":"`+goodURI+`","cid":"`+goodCID+`","commit":{"rev":"yesterday"}}`))
	if got, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}}); !errors.Is(err, pds.ErrBadAnswer) {
		t.Errorf("CreateRecord(rev that is none) = %+v, %v; want ErrBadAnswer", got, err)
	}
}

type doerFunc func(*http.Request) (*http.Response, error)

func (f doerFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// What the session behind the Doer has to say reaches the caller, and is not
// taken for trouble with the network.
func TestErrorsOfTheDoerArePassedOn(t *testing.T) {
	t.Parallel()
	signIn := errors.New("sign in again")
	c := client(t, "https://pds.atoll-tests.net", doerFunc(func(*http.Request) (*http.Response, error) { return nil, signIn }))
	_, err := c.GetRecord(t.Context(), place())
	if !errors.Is(err, signIn) || errors.Is(err, pds.ErrUnreachable) || pds.Unclear(err) {
		t.Errorf("GetRecord = %v (unclear %v), want the Doer's error alone", err, pds.Unclear(err))
	}
}

// A Doer that has to prove itself again, as with a DPoP nonce, can send the
// same body twice.
func TestRequestsCanBeSentAgain(t *testing.T) {
	t.Parallel()
	again := doerFunc(func(r *http.Request) (*http.Response, error) {
		if r.GetBody == nil {
			return nil, errors.New("the body cannot be read twice")
		}
		return nil, http.ErrHandlerTimeout
	})
	c := client(t, "https://pds.atoll-tests.net", again)
	if _, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}}); !errors.Is(err, http.ErrHandlerTimeout) {
		t.Errorf("CreateRecord = %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}})
	if !errors.Is(err, pds.ErrUnreachable) || !pds.Unclear(err) {
		t.Errorf("connection lost after sending: %v (unclear %v), want ErrUnreachable, unclear", err, pds.Unclear(err))
	}

	c, _ = serve(t, says(200, `{"uri":`, "Content-Length", "1000"))
	_, err = c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}})
	if !errors.Is(err, pds.ErrUnreachable) || !pds.Unclear(err) {
		t.Errorf("answer broken off: %v (unclear %v), want ErrUnreachable, unclear", err, pds.Unclear(err))
	}

	c = client(t, "http://127.0.0.1:1", &http.Client{})
	_, err = c.CreateRecord(t.Context(), pds.CreateRecord{Place: place(), Record: struct{}{}})
	if !errors.Is(err, pds.ErrUnreachable) || pds.Unclear(err) {
		t.Errorf("nobody listens: %v (unclear %v), want ErrUnreachable, surely not written", err, pds.Unclear(err))
	}

	ctx, cancel := context.WithCancel(t.Context())
	c, _ = serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	_, err = c.CreateRecord(ctx, pds.CreateRecord{Place: place(), Record: struct{}{}})
	if !errors.Is(err, context.Canceled) || errors.Is(err, pds.ErrUnreachable) || !pds.Unclear(err) {
		t.Errorf("caller gave up: %v (unclear %v), want Canceled, unclear", err, pds.Unclear(err))
	}
}

func TestSubscribeReposURL(t *testing.T) {
	t.Parallel()
	zero, some := int64(0), int64(1234)
	tests := []struct {
		origin string
		cursor *int64
		want   string // empty: refused
	}{
		{"https://pds.atoll-tests.net", nil, "wss://pds.atoll-tests.net/xrpc/com.atproto.sync.subscribeRepos"},
		{"https://pds.atoll-tests.net", &zero, "wss://pds.atoll-tests.net/xrpc/com.atproto.sync.subscribeRepos?cursor=0"},
		{"http://localhost:2583", &some, "ws://localhost:2583/xrpc/com.atproto.sync.subscribeRepos?cursor=1234"},
		{"https://pds.atoll-tests.net/", nil, ""},
		{"https://pds.atoll-tests.net/path", nil, ""},
		{"wss://pds.atoll-tests.net", nil, ""},
		{"pds.atoll-tests.net", nil, ""},
		{"", nil, ""},
	}
	for _, tt := range tests {
		got, err := pds.SubscribeReposURL(tt.origin, tt.cursor)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("SubscribeReposURL(%q) = %q, %v; want %q", tt.origin, got, err, tt.want)
		}
		if _, err := pds.New(pds.Config{Origin: tt.origin, HTTP: &http.Client{}}); (err == nil) != (tt.want != "") {
			t.Errorf("New(%q) = %v", tt.origin, err)
		}
	}
}
