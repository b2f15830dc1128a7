package client

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// LoopbackID is the client id of a development client before its redirect and
// scope are declared in it (AT Protocol OAuth, localhost client development).
const LoopbackID = "http://localhost"

// reservedTLDs are the top-level domains that no public server has. Official
// servers refuse client ids under them.
var reservedTLDs = []string{"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"} // never changed

// LoopbackClientID returns the id of a loopback client with these redirect URIs
// and scope. Ports are left out: servers ignore them, so that any free one does.
func LoopbackClientID(redirectURIs []string, scope string) string {
	q := make([]string, 0, len(redirectURIs)+1)
	var seen []string
	for _, raw := range redirectURIs {
		if u, err := url.Parse(raw); err == nil && u.Port() != "" {
			u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
			raw = u.String()
		}
		if slices.Contains(seen, raw) {
			continue
		}
		seen = append(seen, raw)
		q = append(q, "redirect_uri="+url.QueryEscape(raw))
	}
	if scope != "" {
		q = append(q, "scope="+strings.ReplaceAll(url.QueryEscape(scope), "+", "%20"))
	}
	if len(q) == 0 {
		return LoopbackID
	}
	return LoopbackID + "?" + strings.Join(q, "&")
}

// checkLoopback lists what servers would refuse of a loopback client.
func checkLoopback(cfg Config) (mistakes []error) {
	if cfg.ClientID != LoopbackID {
		mistakes = append(mistakes, fmt.Errorf(
			"client id %q: a loopback client is called %s, without port, path or query; redirect and scope are added to it", cfg.ClientID, LoopbackID))
	}
	if cfg.Keys != nil {
		mistakes = append(mistakes, errors.New("a loopback client is public and has no keys"))
	}
	if len(cfg.RedirectURIs) == 0 {
		mistakes = append(mistakes, errors.New("redirect URI is missing"))
	}
	for _, raw := range cfg.RedirectURIs {
		if err := checkLoopbackRedirect(raw); err != nil {
			mistakes = append(mistakes, fmt.Errorf("redirect URI %q: %w", raw, err))
		}
	}
	return mistakes
}

func checkLoopbackRedirect(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return errors.New("not a URL")
	case u.Scheme != "http":
		return errors.New("a loopback client is redirected to http")
	case u.Hostname() == "localhost":
		return errors.New("servers refuse the name localhost; use 127.0.0.1 or [::1]")
	case u.Hostname() != "127.0.0.1" && u.Hostname() != "::1":
		return errors.New("a loopback client is redirected to 127.0.0.1 or [::1] only")
	}
	return checkParts(u, raw)
}

// checkConfidential lists what servers would refuse of a confidential client.
func checkConfidential(cfg Config) (mistakes []error) {
	note := func(what string, err error) {
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", what, err))
		}
	}
	note(fmt.Sprintf("client id %q", cfg.ClientID), checkClientID(cfg.ClientID))
	if cfg.Keys.newest() == nil {
		mistakes = append(mistakes, errors.New("a confidential client needs a key"))
	}
	if len(cfg.RedirectURIs) == 0 {
		mistakes = append(mistakes, errors.New("redirect URI is missing"))
	}
	for _, raw := range cfg.RedirectURIs {
		note(fmt.Sprintf("redirect URI %q", raw), checkPublicURL(raw))
	}
	for name, raw := range map[string]string{
		"logo URI": cfg.LogoURI, "terms URI": cfg.TOSURI, "policy URI": cfg.PolicyURI, "keys URI": cfg.JWKSURI,
	} {
		if raw != "" {
			note(fmt.Sprintf("%s %q", name, raw), checkPublicURL(raw))
		}
	}
	if cfg.URI != "" {
		note(fmt.Sprintf("client URI %q", cfg.URI), checkClientURI(cfg.URI, cfg.ClientID))
	}
	return mistakes
}

// CheckPublicHost says why official servers would refuse a client under a host
// name: an address, a name without a dot, a reserved top-level domain. Nil
// means that they would not.
func CheckPublicHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return errors.New("an IP address, where servers want a name")
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return errors.New("a name without a dot, which only resolves locally")
	}
	if slices.Contains(labels, "") {
		return errors.New("not a host name")
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" {
		return errors.New("an IP address, where servers want a name")
	}
	if slices.Contains(reservedTLDs, last) {
		return fmt.Errorf("the top-level domain .%s is reserved and not reachable from outside", last)
	}
	return nil
}

// checkPublicURL wants an https URL of a public host.
func checkPublicURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return errors.New("not a URL")
	case u.Scheme != "https":
		return errors.New("not https")
	}
	if err := CheckPublicHost(u.Hostname()); err != nil {
		return err
	}
	return checkParts(u, raw)
}

// checkParts refuses what no URL here may have.
func checkParts(u *url.URL, raw string) error {
	switch {
	case u.User != nil:
		return errors.New("has credentials")
	case strings.Contains(raw, "#"):
		return errors.New("has a fragment")
	case u.String() != raw || u.Host != strings.ToLower(u.Host):
		return fmt.Errorf("not in canonical form, such as %s", strings.Replace(u.String(), u.Host, strings.ToLower(u.Host), 1))
	}
	return nil
}

// checkClientID holds a client id against the AT Protocol OAuth specification
// ("Clients") and what official servers add to it.
func checkClientID(raw string) error {
	if err := checkPublicURL(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return err
	case u.Port() != "":
		return errors.New("has a port")
	case u.Path == "" || u.Path == "/":
		return errors.New("has no path, such as /oauth-client-metadata.json")
	case strings.HasSuffix(u.Path, "/"):
		return errors.New("ends with a slash")
	case strings.Contains(u.Path+"/", "/./") || strings.Contains(u.Path+"/", "/../"):
		return errors.New("has dot segments")
	}
	return nil
}

// checkClientURI wants the origin of the client id and a path above it.
func checkClientURI(raw, clientID string) error {
	if err := checkPublicURL(raw); err != nil {
		return err
	}
	uri, err := url.Parse(raw)
	if err != nil {
		return err
	}
	id, err := url.Parse(clientID)
	if err != nil {
		return err
	}
	above := strings.TrimSuffix(uri.Path, "/") + "/"
	if uri.Host != id.Host || !strings.HasPrefix(id.Path, above) {
		return errors.New("not above the client id")
	}
	return nil
}
