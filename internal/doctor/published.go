package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// document is what a published address answered.
type document struct {
	status      int
	contentType string
	location    string
	body        []byte
}

func (d *Doctor) get(ctx context.Context, address string) (*document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", address, err)
	}
	resp, err := d.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return &document{resp.StatusCode, contentType, resp.Header.Get("Location"), body}, nil
}

const proxyFix = "make the reverse proxy pass this path through as it is: no redirect, no login page, no other host name"

// Published fetches what other servers must be able to fetch before anybody
// can sign in: client metadata, keys and the instance's DID document.
func (d *Doctor) Published(ctx context.Context) []Finding {
	if d.PublicURL == "" {
		return []Finding{fine("client metadata", "development client on this machine (%s); nothing has to be published", d.ClientID)}
	}
	return []Finding{d.metadata(ctx), d.jwks(ctx), d.didDocument(ctx)}
}

// fetchJSON gets a document and judges status, type and syntax.
func (d *Doctor) fetchJSON(ctx context.Context, check, address string, into any) *Finding {
	doc, err := d.get(ctx, address)
	var f Finding
	switch {
	case err != nil:
		f = broken(check, "check DNS, the certificate and the reverse proxy for this host, from another network too", "%v", err)
	case doc.location != "" && doc.status/100 == 3:
		f = broken(check, proxyFix, "%s redirects to %s; other servers refuse redirects here", address, doc.location)
	case doc.status != http.StatusOK:
		f = broken(check, proxyFix, "%s answers with status %d", address, doc.status)
	case doc.contentType != "application/json":
		f = broken(check, proxyFix, "%s is served as %q, not as application/json", address, doc.contentType)
	case json.Unmarshal(doc.body, into) != nil:
		f = broken(check, proxyFix, "%s is not valid JSON", address)
	default:
		return nil
	}
	return &f
}

// metadata checks S1: client_id equals the fetched URL byte for byte.
func (d *Doctor) metadata(ctx context.Context) Finding {
	const check = "client metadata"
	var doc struct {
		ClientID string `json:"client_id"`
		JWKSURI  string `json:"jwks_uri"`
	}
	if f := d.fetchJSON(ctx, check, d.ClientID, &doc); f != nil {
		return *f
	}
	if doc.ClientID != d.ClientID {
		return broken(check, "another instance answers at this address; check public_url and the reverse proxy",
			"client_id is %q, but the address is %q", doc.ClientID, d.ClientID)
	}
	return fine(check, "%s is right", d.ClientID)
}

func (d *Doctor) jwks(ctx context.Context) Finding {
	const check = "client keys"
	address := d.PublicURL + "/oauth/jwks.json"
	var doc struct {
		Keys []map[string]any `json:"keys"`
	}
	if f := d.fetchJSON(ctx, check, address, &doc); f != nil {
		return *f
	}
	for _, key := range doc.Keys {
		if _, private := key["d"]; private {
			return broken(check, "this key is known to everybody: `atoll keys rotate --now`, then `atoll keys withdraw` with its id", "%s publishes a private key", address)
		}
	}
	if len(doc.Keys) == 0 {
		return broken(check, "`atoll keys rotate` makes a key; another instance may be answering here", "%s has no key", address)
	}
	return fine(check, "%d published", len(doc.Keys))
}

// didDocument checks H9: the instance's own identity.
func (d *Doctor) didDocument(ctx context.Context) Finding {
	const check = "instance identity"
	u, err := url.Parse(d.PublicURL)
	if err != nil {
		return broken(check, "correct public_url", "public_url: %v", err)
	}
	want := "did:web:" + strings.ReplaceAll(u.Host, ":", "%3A")
	var doc struct {
		ID string `json:"id"`
	}
	if f := d.fetchJSON(ctx, check, d.PublicURL+"/.well-known/did.json", &doc); f != nil {
		return *f
	}
	if doc.ID != want {
		return broken(check, "another server answers at this address; check public_url and the reverse proxy",
			"the DID document is of %q, want %q", doc.ID, want)
	}
	return fine(check, "%s", want)
}
