package pds_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// door is a server that takes one token, and keeps what it was sent.
type door struct {
	*httptest.Server
	takes string
	says  string // to other tokens
	saw   []string
}

func newDoor(t *testing.T, takes string) *door {
	t.Helper()
	d := &door{takes: takes, says: `{"error":"ExpiredToken","message":"Token has expired"}`}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		d.saw = append(d.saw, token+": "+string(body))
		if token != d.takes {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, d.says)
			return
		}
		_, _ = io.WriteString(w, "welcome")
	}))
	t.Cleanup(d.Close)
	return d
}

// bearer hands out tokens one after the other, and keeps which were refused.
func (d *door) bearer(refused *[]string, tokens ...string) pds.Bearer {
	return pds.Bearer{HTTP: http.DefaultClient, Access: func(_ context.Context, last pds.Access) (pds.Access, error) {
		n := 0
		if !last.Token.IsZero() {
			*refused = append(*refused, last.Token.Reveal())
			n = len(*refused)
		}
		if n == len(tokens) {
			return pds.Access{}, errNoMore
		}
		return pds.Access{Origin: d.URL, Token: keyring.NewSecret(tokens[n]), Version: int64(n + 1)}, nil
	}}
}

var errNoMore = errors.New("no more tokens")

func (d *door) request(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+"/xrpc/com.example.write", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// TestBearer holds that a request whose token is refused goes out once more, with
// all of its body and another token, and that whatever comes then is the answer.
func TestBearer(t *testing.T) {
	t.Parallel()
	const expired = `{"error":"ExpiredToken","message":"Token has expired"}`
	tests := []struct {
		name   string
		says   string
		tokens []string
		stream bool // the body can be read once only
		saw    []string
		asked  []string // of which a token in place was asked for
		answer string
		err    error
	}{
		{"good", expired, []string{"good"}, false, []string{"good: text"}, nil, "welcome", nil},
		{"expired", expired, []string{"old", "good"}, false, []string{"old: text", "good: text"}, []string{"old"}, "welcome", nil},
		{"invalid", `{"error":"InvalidToken"}`, []string{"old", "good"}, false, []string{"old: text", "good: text"}, []string{"old"}, "welcome", nil},
		{"expired twice", expired, []string{"old", "older", "good"}, false, []string{"old: text", "older: text"}, []string{"old"}, expired, nil},
		{"none in place", expired, []string{"old"}, false, []string{"old: text"}, []string{"old"}, "", errNoMore},
		{"a stream", expired, []string{"old", "good"}, true, []string{"old: text"}, []string{"old"}, expired, nil},
		{"refused for another reason", `{"error":"InvalidRequest"}`, []string{"old", "good"}, false, []string{"old: text"}, nil, `{"error":"InvalidRequest"}`, nil},
		{"no JSON", "<html>", []string{"old", "good"}, false, []string{"old: text"}, nil, "<html>", nil},
		{"long", strings.Repeat("x", 40<<10), []string{"old"}, false, []string{"old: text"}, nil, strings.Repeat("x", 40<<10), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, "good")
			d.says = tt.says
			var body io.Reader = strings.NewReader("text")
			if tt.stream {
				body = io.MultiReader(body)
			}
			var asked []string
			res, err := d.bearer(&asked, tt.tokens...).Do(d.request(t, body))
			if !errors.Is(err, tt.err) {
				t.Fatalf("Do: %v, want %v", err, tt.err)
			}
			if err == nil {
				defer res.Body.Close()
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != tt.answer {
					t.Errorf("answer: %.100q, %v; want %.100q", got, err, tt.answer)
				}
			}
			if diff := cmp.Diff(tt.saw, d.saw); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("refused tokens (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBearerStaysHome holds that a token goes to its own server only: neither to
// another address nor under another name.
func TestBearerStaysHome(t *testing.T) {
	t.Parallel()
	home, evil := newDoor(t, "good"), newDoor(t, "")
	for name, change := range map[string]func(*http.Request){
		"another server": func(r *http.Request) { r.URL.Host = strings.TrimPrefix(evil.URL, "http://") },
		"another scheme": func(r *http.Request) { r.URL.Scheme = "https" },
		"another name":   func(r *http.Request) { r.Host = "evil.example.com" },
		"a longer name":  func(r *http.Request) { r.URL.Host += ".evil.example.com" },
	} {
		var asked []string
		req := home.request(t, strings.NewReader("text"))
		change(req)
		if res, err := home.bearer(&asked, "good").Do(req); !errors.Is(err, pds.ErrElsewhere) {
			t.Errorf("%s: %v, %v; want %v", name, res, err, pds.ErrElsewhere)
		}
	}
	// The token in place may be of another server: the account has moved.
	moved := pds.Bearer{HTTP: http.DefaultClient, Access: func(_ context.Context, refused pds.Access) (pds.Access, error) {
		if refused.Token.IsZero() {
			return pds.Access{Origin: home.URL, Token: keyring.NewSecret("old")}, nil
		}
		return pds.Access{Origin: evil.URL, Token: keyring.NewSecret("new")}, nil
	}}
	if res, err := moved.Do(home.request(t, strings.NewReader("text"))); !errors.Is(err, pds.ErrElsewhere) {
		t.Errorf("moved: %v, %v; want %v", res, err, pds.ErrElsewhere)
	}
	if diff := cmp.Diff([]string{"old: text"}, home.saw); diff != "" || len(evil.saw) != 0 {
		t.Errorf("the other server saw %v; its own (-want +got):\n%s", evil.saw, diff)
	}
}
