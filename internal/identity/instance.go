package identity

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// InstanceServiceID is the fragment by which others address this server in its
// DID, as in the header "atproto-proxy: did:web:host#atoll_appview".
const InstanceServiceID = "#atoll_appview"

// InstanceDocument is the DID document that an instance publishes about itself
// at /.well-known/did.json, in the shape of its JSON (W3C DID Core).
type InstanceDocument struct {
	Context     []string          `json:"@context"`
	ID          syntax.DID        `json:"id"`
	AlsoKnownAs []string          `json:"alsoKnownAs"`
	Service     []InstanceService `json:"service"`
}

// InstanceService is one service of an InstanceDocument.
type InstanceService struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Endpoint string `json:"serviceEndpoint"`
}

// InstanceDID returns the did:web of the host that publicURL names. A port is
// only possible on localhost (AT Protocol DID specification). Errors: those of
// Origin, *TLDError that names the setting public_url, and plain ones.
func InstanceDID(publicURL string) (syntax.DID, error) {
	origin, err := Origin(publicURL, true)
	if err != nil {
		return "", fmt.Errorf("public_url: %w", err)
	}
	u, err := url.Parse(origin)
	if err != nil {
		return "", fmt.Errorf("public_url: %w", err)
	}
	did := "did:web:" + strings.Replace(u.Host, ":", "%3A", 1)
	if u.Host == "localhost" || strings.HasPrefix(u.Host, "localhost:") {
		return syntax.DID(did), nil
	}
	if err := CheckSetting("public_url", u.Host, true); err != nil {
		return "", err
	}
	if checkDID(syntax.DID(did)) != nil {
		return "", fmt.Errorf("public_url: %s cannot be a did:web: that takes a host name without a port", u.Host)
	}
	return syntax.DID(did), nil
}

// NewInstanceDocument describes the instance at publicURL. alsoKnownAs names
// the domain, by which other instances verify claims that this one hosts a
// community.
func NewInstanceDocument(publicURL string) (*InstanceDocument, error) {
	did, err := InstanceDID(publicURL)
	if err != nil {
		return nil, err
	}
	origin, err := Origin(publicURL, true)
	if err != nil {
		return nil, err
	}
	_, host, _ := strings.Cut(origin, "://")
	return &InstanceDocument{
		Context:     []string{"https://www.w3.org/ns/did/v1"},
		ID:          did,
		AlsoKnownAs: []string{"at://" + host},
		Service:     []InstanceService{{ID: InstanceServiceID, Type: "AtollAppView", Endpoint: origin}},
	}, nil
}
