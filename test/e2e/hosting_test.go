package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHandleOfAStranger holds that the well-known path of handles says nothing
// about names that no hosted account has, and that the instance's own document
// names its service (H6, H9).
func TestHandleOfAStranger(t *testing.T) {
	t.Parallel()
	i := start(t, shape{confidential: true})
	for _, host := range []string{i.host, "nobody." + i.host, "127.0.0.1", "bad_host"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+i.addr+"/.well-known/atproto-did", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusNotFound || strings.Contains(string(body), "did:") {
			t.Errorf("%s: status %d, %s; want 404", host, res.StatusCode, body)
		}
	}
	res, err := http.Get("http://" + i.addr + "/.well-known/did.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var document struct {
		ID          string   `json:"id"`
		AlsoKnownAs []string `json:"alsoKnownAs"`
		Service     []struct {
			ID       string `json:"id"`
			Endpoint string `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if err := json.NewDecoder(res.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	if document.ID != "did:web:"+i.host || len(document.AlsoKnownAs) != 1 || len(document.Service) == 0 ||
		document.Service[0].ID != "#atoll_appview" || document.Service[0].Endpoint != i.origin() {
		t.Errorf("the instance's document: %+v", document)
	}
}
