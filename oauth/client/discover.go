package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Well-known paths of RFC 9728 (3) and RFC 8414 (3).
const (
	resourcePath = "/.well-known/oauth-protected-resource"
	serverPath   = "/.well-known/oauth-authorization-server"
)

// serverMetadata is what we need of an authorization server's document (RFC 8414).
type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	PushEndpoint          string   `json:"pushed_authorization_request_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	Scopes                []string `json:"scopes_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgs              []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	DPoPAlgs              []string `json:"dpop_signing_alg_values_supported"`
	PushRequired          bool     `json:"require_pushed_authorization_requests"`
	IssuerParameter       bool     `json:"authorization_response_iss_parameter_supported"`
	ClientIDDocuments     bool     `json:"client_id_metadata_document_supported"`
	ProtectedResources    []string `json:"protected_resources"`
}

// issuerOf asks a PDS for its authorization server (RFC 9728; AT Protocol
// OAuth, "Server Metadata"): exactly one, an origin.
func (c *Client) issuerOf(ctx context.Context, pds string) (string, error) {
	var doc struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	target := pds + resourcePath
	if err := c.document(ctx, target, &doc); err != nil {
		return "", err
	}
	refuse := func(reason string) error {
		return &ServerError{Kind: ErrNotOAuth, URL: target, Status: http.StatusOK, Reason: reason}
	}
	if resource, err := c.parseOrigin(doc.Resource); doc.Resource != "" && (err != nil || resource != pds) {
		return "", refuse("resource is not the server asked")
	}
	if len(doc.Servers) != 1 {
		return "", refuse(fmt.Sprintf("%d authorization servers, where there must be one", len(doc.Servers)))
	}
	issuer, err := c.parseOrigin(doc.Servers[0])
	if err != nil {
		return "", refuse("authorization server: " + err.Error())
	}
	return issuer, nil
}

// metadataOf fetches and checks an authorization server's document. pds is the
// PDS that named it, empty when the server was named directly.
func (c *Client) metadataOf(ctx context.Context, issuer, pds string) (*serverMetadata, error) {
	var m serverMetadata
	target := issuer + serverPath
	if err := c.document(ctx, target, &m); err != nil {
		return nil, err
	}
	if err := c.checkMetadata(&m, issuer, pds); err != nil {
		return nil, &ServerError{Kind: ErrNotOAuth, URL: target, Status: http.StatusOK, Reason: err.Error()}
	}
	return &m, nil
}

// checkMetadata says what an authorization server lacks.
func (c *Client) checkMetadata(m *serverMetadata, issuer, pds string) error {
	if m.Issuer != issuer {
		return errors.New("issuer is not the server asked")
	}
	for name, endpoint := range map[string]string{
		"authorization_endpoint":                m.AuthorizationEndpoint,
		"token_endpoint":                        m.TokenEndpoint,
		"pushed_authorization_request_endpoint": m.PushEndpoint,
		"revocation_endpoint":                   m.RevocationEndpoint,
	} {
		if endpoint == "" && name == "revocation_endpoint" {
			continue
		}
		if err := c.checkServerURL(endpoint); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, ok := range map[string]bool{
		"require_pushed_authorization_requests":          m.PushRequired,
		"authorization_response_iss_parameter_supported": m.IssuerParameter,
		"client_id_metadata_document_supported":          m.ClientIDDocuments,
	} {
		if !ok {
			return fmt.Errorf("%s is not true", name)
		}
	}
	if len(m.ProtectedResources) > 0 && pds != "" && !slices.Contains(m.ProtectedResources, pds) &&
		!slices.Contains(m.ProtectedResources, pds+"/") {
		return errors.New("protected_resources lacks the PDS that names this server")
	}
	return c.checkLists(m)
}

// checkLists says which supported value an authorization server lacks.
func (c *Client) checkLists(m *serverMetadata) error {
	type need struct {
		name string
		have []string
		want string
	}
	needs := []need{
		{"response_types_supported", m.ResponseTypes, "code"},
		{"grant_types_supported", m.GrantTypes, "authorization_code"},
		{"grant_types_supported", m.GrantTypes, "refresh_token"},
		{"scopes_supported", m.Scopes, "atproto"},
		{"code_challenge_methods_supported", m.ChallengeMethods, "S256"},
		{"dpop_signing_alg_values_supported", m.DPoPAlgs, "ES256"},
		{"token_endpoint_auth_methods_supported", m.AuthMethods, c.authMethod()},
	}
	if !c.loopback {
		needs = append(needs, need{"token_endpoint_auth_signing_alg_values_supported", m.AuthAlgs, "ES256"})
	}
	for _, n := range needs {
		if !slices.Contains(n.have, n.want) {
			return fmt.Errorf("%s lacks %s", n.name, n.want)
		}
	}
	return nil
}

// resolve asks the directory.
func (c *Client) resolve(ctx context.Context, account syntax.AtIdentifier) (*identity.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	who, err := c.cfg.Directory.Lookup(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("resolve account: %w", err)
	}
	return who, nil
}

// home resolves an account to its identity, its PDS and the PDS's issuer.
func (c *Client) home(ctx context.Context, account syntax.AtIdentifier) (who *identity.Identity, pds, issuer string, err error) {
	if who, err = c.resolve(ctx, account); err != nil {
		return nil, "", "", err
	}
	pds, err = c.parseOrigin(who.PDSEndpoint())
	if err != nil {
		return nil, "", "", fmt.Errorf("%w: %w", ErrNoPDS, err)
	}
	issuer, err = c.issuerOf(ctx, pds)
	return who, pds, issuer, err
}

// entry finds the authorization server of a host that is a PDS or itself an
// authorization server. pds is empty in the latter case.
func (c *Client) entry(ctx context.Context, host string) (issuer, pds string, err error) {
	origin, err := c.parseOrigin(host)
	if err != nil {
		return "", "", fmt.Errorf("%w: server: %w", ErrBadRequest, err)
	}
	issuer, err = c.issuerOf(ctx, origin)
	var trouble *ServerError
	if errors.As(err, &trouble) && errors.Is(trouble.Kind, ErrNotOAuth) && trouble.Status >= 400 {
		return origin, "", nil // no PDS: perhaps an authorization server, which its metadata will tell
	}
	return issuer, origin, err
}
