package pds_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/test/network"
)

// bearer sends requests with the access token of a password session.
type bearer struct {
	client *http.Client
	token  string
}

func (b bearer) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.client.Do(r)
}

func signIn(t *testing.T, n *network.Network, a network.Account) bearer {
	t.Helper()
	in, _ := json.Marshal(map[string]string{"identifier": a.Handle, "password": a.Password})
	res, err := n.Client().Post(n.PDS[a.PDS].URL+"/xrpc/com.atproto.server.createSession", "application/json", bytes.NewReader(in))
	if err != nil {
		t.Fatalf("createSession: %v", err)
	}
	defer res.Body.Close()
	var out struct {
		AccessJWT string `json:"accessJwt"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.AccessJWT == "" {
		t.Fatalf("createSession: status %d, %v", res.StatusCode, err)
	}
	return bearer{n.Client(), out.AccessJWT}
}

// The official server takes and gives what this package sends and expects.
func TestOfficialPDS(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	account := n.NewAccount(t, 1)
	c := client(t, n.PDS[1].URL, signIn(t, n, account))
	where := pds.Place{Repo: syntax.DID(account.DID), Collection: "social.coves.community.postv2", RKey: "3lzyxw2222222"}

	server, err := c.DescribeServer(t.Context())
	if err != nil || server.DID.String() != n.PDS[1].DID || len(server.HandleDomains) == 0 {
		t.Errorf("DescribeServer = %+v, %v; want %s", server, err, n.PDS[1].DID)
	}
	if _, err := c.GetRecord(t.Context(), where); !errors.Is(err, pds.ErrRecordNotFound) {
		t.Errorf("GetRecord before writing = %v, want ErrRecordNotFound", err)
	}
	record := map[string]any{"$type": "social.coves.community.postv2", "title": "hello <world>"}
	written, err := c.CreateRecord(t.Context(), pds.CreateRecord{Place: where, Record: record})
	if err != nil || written.URI != where.URI() || written.Rev == "" {
		t.Fatalf("CreateRecord = %+v, %v", written, err)
	}
	got, err := c.GetRecord(t.Context(), where)
	if err != nil || got.CID != written.CID {
		t.Errorf("GetRecord = %+v, %v; want CID %s", got, err, written.CID)
	}
	var value map[string]any
	if err := json.Unmarshal(got.Value, &value); err != nil || value["title"] != "hello <world>" {
		t.Errorf("value = %s, %v", got.Value, err)
	}
}

// The official server answers the same key again with its status 500 and leaves
// the first record alone: whoever looks it up then writes nothing twice.
func TestOfficialPDSRefuses(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	account := n.NewAccount(t, 0)
	c := client(t, n.PDS[0].URL, signIn(t, n, account))
	where := pds.Place{Repo: syntax.DID(account.DID), Collection: "social.coves.community.postv2", RKey: "3lzyxw2222222"}
	create := pds.CreateRecord{Place: where, Record: map[string]any{"$type": "social.coves.community.postv2"}}

	yes := true
	strict := create
	strict.Validate = &yes
	var refused *pds.Error
	if _, err := c.CreateRecord(t.Context(), strict); !errors.As(err, &refused) || refused.Status != 400 || refused.Name == "" || refused.Message == "" {
		t.Errorf("CreateRecord of an unknown lexicon with validate = %v, want a refusal with words", err)
	}
	first, err := c.CreateRecord(t.Context(), create)
	if err != nil {
		t.Fatalf("CreateRecord: %v", err)
	}
	create.Record = map[string]any{"$type": "social.coves.community.postv2", "title": "second"}
	if again, err := c.CreateRecord(t.Context(), create); err == nil || !pds.Unclear(err) {
		t.Errorf("CreateRecord of the same key = %+v, %v; want an unclear outcome", again, err)
	}
	if got, err := c.GetRecord(t.Context(), where); err != nil || got.CID != first.CID {
		t.Errorf("GetRecord after writing the key again = %+v, %v; want the first, %s", got, err, first.CID)
	}
	foreign := create
	foreign.Repo = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	if _, err := c.CreateRecord(t.Context(), foreign); !errors.As(err, &refused) || pds.Unclear(err) {
		t.Errorf("CreateRecord in a foreign repository = %v, want a refusal", err)
	}
	anonymous := client(t, n.PDS[0].URL, n.Client())
	if _, err := anonymous.CreateRecord(t.Context(), create); !errors.As(err, &refused) || refused.Status != 401 {
		t.Errorf("CreateRecord without a session = %v, want status 401", err)
	}
}
