package pds_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

const someDID = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")

// calls of this file, by method, with a good answer and what they send.
type serverCall struct {
	method, good string
	sends        map[string]any // nil: a query, or no body
	query        string
	do           func(ctx context.Context, c *pds.Client) error
}

func serverCalls() []serverCall {
	secret := keyring.NewSecret
	return []serverCall{
		{"com.atproto.server.createAccount", `{"did":"` + string(someDID) + `","accessJwt":"a","refreshJwt":"b"}`,
			map[string]any{"handle": "town.example.org", "email": "a@b.org", "password": "p", "inviteCode": "i", "recoveryKey": "did:key:z"}, "",
			func(ctx context.Context, c *pds.Client) error {
				_, err := c.CreateAccount(ctx, pds.CreateAccount{Handle: "town.example.org", Email: "a@b.org", Password: secret("p"), Invite: secret("i"), RecoveryKey: "did:key:z"})
				return err
			}},
		{"com.atproto.server.createInviteCode", `{"code":"x-1"}`, map[string]any{"useCount": 1.0}, "",
			func(ctx context.Context, c *pds.Client) error { _, err := c.CreateInviteCode(ctx); return err }},
		{"com.atproto.admin.disableInviteCodes", ``, map[string]any{"codes": []any{"x-1"}}, "",
			func(ctx context.Context, c *pds.Client) error { return c.DisableInviteCode(ctx, secret("x-1")) }},
		{"com.atproto.admin.deleteAccount", ``, map[string]any{"did": string(someDID)}, "",
			func(ctx context.Context, c *pds.Client) error { return c.DeleteAccount(ctx, someDID) }},
		{"com.atproto.admin.updateAccountPassword", ``, map[string]any{"did": string(someDID), "password": "p"}, "",
			func(ctx context.Context, c *pds.Client) error { return c.SetPassword(ctx, someDID, secret("p")) }},
		{"com.atproto.admin.updateAccountHandle", ``, map[string]any{"did": string(someDID), "handle": "town.example.org"}, "",
			func(ctx context.Context, c *pds.Client) error { return c.SetHandle(ctx, someDID, "town.example.org") }},
		{"com.atproto.admin.getAccountInfo", `{"did":"` + string(someDID) + `","handle":"Town.example.org"}`, nil, "did=did%3Aplc%3Aaaaaaaaaaaaaaaaaaaaaaaaa",
			func(ctx context.Context, c *pds.Client) error {
				handle, err := c.AccountHandle(ctx, someDID)
				if err == nil && handle != "town.example.org" {
					err = errors.New("the handle is " + handle.String())
				}
				return err
			}},
		{"com.atproto.sync.getRepoStatus", `{"did":"` + string(someDID) + `","active":true}`, nil, "did=did%3Aplc%3Aaaaaaaaaaaaaaaaaaaaaaaaa",
			func(ctx context.Context, c *pds.Client) error { _, err := c.RepoStatus(ctx, someDID); return err }},
		{"com.atproto.server.activateAccount", ``, nil, "",
			func(ctx context.Context, c *pds.Client) error { return c.ActivateAccount(ctx) }},
	}
}

// TestServerOnTheWire holds what the calls about accounts send.
func TestServerOnTheWire(t *testing.T) {
	t.Parallel()
	for _, call := range serverCalls() {
		t.Run(call.method, func(t *testing.T) {
			t.Parallel()
			c, calls := serve(t, says(http.StatusOK, call.good))
			if err := call.do(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", call.method, err)
			}
			got := <-calls
			if got.Path != "/xrpc/"+call.method || got.Query != call.query {
				t.Errorf("sent to %s?%s", got.Path, got.Query)
			}
			if diff := cmp.Diff(call.sends, got.Body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// TestServerAnswersWrongly holds that refusals are typed, and that an answer
// which says nothing, or speaks of somebody else, is none.
func TestServerAnswersWrongly(t *testing.T) {
	t.Parallel()
	for _, call := range serverCalls() {
		t.Run(call.method, func(t *testing.T) {
			t.Parallel()
			c, _ := serve(t, says(http.StatusBadRequest, `{"error":"InvalidRequest","message":"no"}`))
			var refused *pds.Error
			if err := call.do(t.Context(), c); !errors.As(err, &refused) || refused.Name != "InvalidRequest" {
				t.Errorf("a refusal: %v", err)
			}
			if call.good == "" {
				return
			}
			other := strings.ReplaceAll(call.good, string(someDID), "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
			wrong := []string{`{}`, `[]`, `{"did":7}`, `{"did":"no","handle":"no"}`, `{"code":""}`, `{"did":"` + string(someDID) + `"}`, ``}
			if strings.Contains(call.query, "did") {
				wrong = append(wrong, other)
			}
			for _, body := range wrong {
				c, _ := serve(t, says(http.StatusOK, body))
				if err := call.do(t.Context(), c); !errors.Is(err, pds.ErrBadAnswer) {
					t.Errorf("answered %q: %v, want ErrBadAnswer", body, err)
				}
			}
		})
	}
}

// TestAdmin holds that the administrator's password is sent, and that the
// request which was handed in is left as it was.
func TestAdmin(t *testing.T) {
	t.Parallel()
	var sent *http.Request
	doer := doerFunc(func(r *http.Request) (*http.Response, error) { sent = r; return nil, errors.New("stop") })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://pds.example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := (pds.Admin{HTTP: doer, Password: keyring.NewSecret("pässword:1")}).Do(req); err == nil {
		res.Body.Close()
	}
	if name, password, ok := sent.BasicAuth(); !ok || name != "admin" || password != "pässword:1" {
		t.Errorf("sent as %q with %q", name, password)
	}
	if req.Header.Get("Authorization") != "" {
		t.Error("the password is left in the caller's request")
	}
}
