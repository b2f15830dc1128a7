package client

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// Metadata is the client's own document (RFC 7591, 2; AT Protocol OAuth,
// "Client ID Metadata Document"), as published at its client id.
type Metadata struct {
	ClientID                string   `json:"client_id"`
	ApplicationType         string   `json:"application_type"`
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	LogoURI                 string   `json:"logo_uri,omitempty"`
	TOSURI                  string   `json:"tos_uri,omitempty"`
	PolicyURI               string   `json:"policy_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	Scope                   string   `json:"scope"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	TokenEndpointAuthAlg    string   `json:"token_endpoint_auth_signing_alg,omitempty"`
	DPoPBoundAccessTokens   bool     `json:"dpop_bound_access_tokens"`
	JWKSURI                 string   `json:"jwks_uri,omitempty"`
}

// Metadata returns the document to publish. That of a loopback client is what
// servers make up for it; publishing it is of no use.
func (c *Client) Metadata() Metadata {
	m := Metadata{
		ClientID:                c.id,
		ApplicationType:         "web",
		ClientName:              c.cfg.Name,
		ClientURI:               c.cfg.URI,
		LogoURI:                 c.cfg.LogoURI,
		TOSURI:                  c.cfg.TOSURI,
		PolicyURI:               c.cfg.PolicyURI,
		RedirectURIs:            slices.Clone(c.cfg.RedirectURIs),
		GrantTypes:              []string{"authorization_code", "refresh_token"},
		ResponseTypes:           []string{"code"},
		Scope:                   c.scopes.String(),
		TokenEndpointAuthMethod: c.authMethod(),
		TokenEndpointAuthAlg:    "ES256",
		DPoPBoundAccessTokens:   true,
		JWKSURI:                 c.jwksURI(),
	}
	if c.loopback {
		m.ApplicationType, m.TokenEndpointAuthAlg = "native", ""
	}
	return m
}

// authMethod is how the client authenticates itself (RFC 7591, 2).
func (c *Client) authMethod() string {
	if c.loopback {
		return "none"
	}
	return "private_key_jwt"
}

func (c *Client) jwksURI() string {
	if c.loopback || c.cfg.JWKSURI != "" {
		return c.cfg.JWKSURI
	}
	u, err := url.Parse(c.id)
	if err != nil {
		return "" // New has parsed it
	}
	return u.Scheme + "://" + u.Host + "/oauth/jwks.json"
}

// JWKS returns the key set to publish at JWKSURI, of the very keys that sign;
// {"keys":[]} for a public client.
func (c *Client) JWKS() ([]byte, error) { return c.cfg.Keys.PublicJWKS() }

// ServeMetadata answers with Metadata: 200, application/json. Mount it at
// exactly the path of the client id; a redirect on the way makes every sign-in
// fail.
func (c *Client) ServeMetadata(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(c.Metadata())
	serveJSON(w, body, err)
}

// ServeJWKS answers with JWKS: 200, application/json.
func (c *Client) ServeJWKS(w http.ResponseWriter, _ *http.Request) {
	body, err := c.JWKS()
	serveJSON(w, body, err)
}

// serveJSON writes a public document that servers and browsers may read.
func serveJSON(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body) // a reader that is gone is not our problem
}
