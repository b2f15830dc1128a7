package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// setting is one key: how text becomes its value and back. A key in a table of
// the file has a dot; its environment variable has an underscore there.
type setting struct {
	key    string
	secret bool // never printed; may be given as KEY_FILE
	help   string
	set    func(c *Config, text string) error
	get    func(c *Config) string
}

// env is the name of the setting's environment variable.
func (s setting) env() string {
	return "ATOLL_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings lists every key in the order in which they are explained.
func settings() []setting {
	return slices.Concat(servingSettings(), storageSettings(), networkSettings(), delegationSettings(), hostingSettings(), communitySettings(), runningSettings())
}

func servingSettings() []setting {
	return []setting{
		textSetting("listen", "address and port to serve on", func(c *Config) *string { return &c.Listen }),
		textSetting("public_url", "https:// origin that members use; empty for a development client on this machine", func(c *Config) *string { return &c.PublicURL }),
		textSetting("tls_cert", "certificate file, when no reverse proxy ends TLS", func(c *Config) *string { return &c.TLSCert }),
		textSetting("tls_key", "key file of tls_cert", func(c *Config) *string { return &c.TLSKey }),
		listSetting("trusted_proxies", "addresses whose X-Forwarded-For is believed", parsePrefix, netip.Prefix.String, func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
		listSetting("roles", "what this process does: web, ingest, jobs", parseRole, func(r Role) string { return string(r) }, func(c *Config) *[]Role { return &c.Roles }),
		listSetting("app_redirects", "addresses at which mobile apps may be called back with a session", parseRedirect, func(s string) string { return s }, func(c *Config) *[]string { return &c.AppRedirects }),
		textSetting("metrics_listen", "address and port of /metrics; empty for off", func(c *Config) *string { return &c.MetricsListen }),
	}
}

func storageSettings() []setting {
	return []setting{
		textSetting("data_dir", "folder of the embedded database", func(c *Config) *string { return &c.DataDir }),
		secretSetting("database_url", "postgres:// address; empty for the embedded database", func(c *Config) *keyring.Secret { return &c.DatabaseURL }),
		secretSetting("secret_key", "master keys, newest first, one a line", func(c *Config) *keyring.Secret { return &c.SecretKey }),
	}
}

func networkSettings() []setting {
	return []setting{
		{key: "dev", help: "development: allow loopback targets, http issuers there, and dev_handles", set: setDev, get: func(c *Config) string { return strconv.FormatBool(c.Dev) }},
		{key: "dev_handles", help: "handle suffixes and the server that answers for them, suffix=url", set: setDevHandles, get: getDevHandles},
		textSetting("plc_url", "the PLC directory", func(c *Config) *string { return &c.PLCURL }),
		listSetting("source", "streams to listen to, kind=url", parseSource, func(s Source) string { return s.Kind + "=" + s.URL }, func(c *Config) *[]Source { return &c.Sources }),
		textSetting("jetstream_dictionary", "file with the zstd dictionary of Jetstream", func(c *Config) *string { return &c.JetstreamDictionary }),
		listSetting("egress_allow", "private address:port pairs that Atoll may call", netip.ParseAddrPort, netip.AddrPort.String, func(c *Config) *[]netip.AddrPort { return &c.EgressAllow }),
	}
}

func hostingSettings() []setting {
	return []setting{
		textSetting("hosting.pds_url", "the PDS on which communities get their accounts; empty for none", func(c *Config) *string { return &c.Hosting.PDSURL }),
		secretSetting("hosting.pds_admin_password", "the password of that PDS's administrator", func(c *Config) *keyring.Secret { return &c.Hosting.PDSAdminPassword }),
		textSetting("hosting.handle_domain", "handles of communities are NAME.handle_domain", func(c *Config) *string { return &c.Hosting.HandleDomain }),
		textSetting("hosting.email_domain", "e-mail addresses of their accounts end so; empty for handle_domain", func(c *Config) *string { return &c.Hosting.EmailDomain }),
		textSetting("hosting.recovery_key", "did:key that can take their accounts back; empty for one made for each", func(c *Config) *string { return &c.Hosting.RecoveryKey }),
		textSetting("hosting.invite", "mint a code for each account, or none", func(c *Config) *string { return &c.Hosting.Invite }),
	}
}

func communitySettings() []setting {
	return []setting{
		textSetting("community.creation", "who creates communities: members or admins", func(c *Config) *string { return &c.Community.Creation }),
		listSetting("admins", "DIDs of those who look after every community that is hosted here", parseAdmin, syntax.DID.String, func(c *Config) *[]syntax.DID { return &c.Admins }),
	}
}

func parseAdmin(text string) (syntax.DID, error) {
	did, err := syntax.ParseDID(text)
	if err != nil || did.Method() != "plc" && did.Method() != "web" {
		return "", errors.New("is not the DID of an account, such as did:plc:… (a handle can change hands)")
	}
	return did, nil
}

func runningSettings() []setting {
	return []setting{
		textSetting("log_level", "debug, info, warn or error", func(c *Config) *string { return &c.LogLevel }),
		textSetting("log_format", "text or json", func(c *Config) *string { return &c.LogFormat }),
		countSetting("limits.sign_ins_per_minute", "sign-ins begun, per address", func(c *Config) *int { return &c.Limits.SignInsPerMinute }),
		countSetting("limits.requests_per_minute", "requests, per address", func(c *Config) *int { return &c.Limits.RequestsPerMinute }),
		countSetting("limits.picture_cache_mb", "megabytes of resized pictures that are kept in the data folder", func(c *Config) *int { return &c.Limits.PictureCacheMB }),
		countSetting("limits.writes_per_minute", "records written, per account", func(c *Config) *int { return &c.Limits.WritesPerMinute }),
		countSetting("limits.communities_per_day", "communities created, per account", func(c *Config) *int { return &c.Limits.CommunitiesPerDay }),
		countSetting("limits.aggregator_posts_per_hour", "posts by key, per aggregator and community", func(c *Config) *int { return &c.Limits.AggregatorPostsPerHour }),
		countSetting("retention.sessions", "days after which a session that nobody uses ends", func(c *Config) *int { return &c.Retention.SessionDays }),
		countSetting("retention.audit", "days for which the audit trail is kept", func(c *Config) *int { return &c.Retention.AuditDays }),
		countSetting("retention.deleted_accounts", "days for which the content of deleted accounts is kept, hidden", func(c *Config) *int { return &c.Retention.DeletedDays }),
	}
}

func textSetting(key, help string, field func(*Config) *string) setting {
	return setting{
		key: key, help: help,
		set: func(c *Config, text string) error { *field(c) = strings.TrimSpace(text); return nil },
		get: func(c *Config) string { return *field(c) },
	}
}

func secretSetting(key, help string, field func(*Config) *keyring.Secret) setting {
	return setting{
		key: key, help: help, secret: true,
		set: func(c *Config, text string) error {
			*field(c) = keyring.NewSecret(strings.TrimSpace(text))
			return nil
		},
		get: func(c *Config) string {
			if field(c).IsZero() {
				return ""
			}
			return "[hidden]"
		},
	}
}

func countSetting(key, help string, field func(*Config) *int) setting {
	return setting{
		key: key, help: help,
		set: func(c *Config, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return errors.New("must be a whole number of at least 1")
			}
			*field(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

// listSetting is a setting of several values, separated by commas.
func listSetting[T any](key, help string, parse func(string) (T, error), format func(T) string, field func(*Config) *[]T) setting {
	return setting{
		key: key, help: help,
		set: func(c *Config, text string) error {
			var list []T
			for _, part := range splitList(text) {
				v, err := parse(part)
				if err != nil {
					return fmt.Errorf("%q: %w", part, err)
				}
				list = append(list, v)
			}
			*field(c) = list
			return nil
		},
		get: func(c *Config) string {
			var parts []string
			for _, v := range *field(c) {
				parts = append(parts, format(v))
			}
			return strings.Join(parts, ", ")
		},
	}
}

func splitList(text string) []string {
	var parts []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is neither an address nor a range such as 10.0.0.0/8")
	}
	return p.Masked(), nil
}

func parseRole(text string) (Role, error) {
	switch r := Role(text); r {
	case RoleWeb, RoleIngest, RoleJobs:
		return r, nil
	}
	return "", errors.New("is no role; there are web, ingest and jobs")
}

// parseRedirect wants an address that belongs to one app: an https address of
// its maker, or a scheme that is a domain name turned round (RFC 8252, 7.1).
func parseRedirect(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsAny(text, "?#") || u.User != nil || strings.ContainsFunc(text, unicode.IsSpace):
		return "", errors.New("must be an address without query, fragment and user")
	case u.Scheme == "https" && u.Host != "", strings.Contains(u.Scheme, ".") && strings.HasPrefix(u.Path, "/"):
		return text, nil
	}
	return "", errors.New("must begin with https:// or with a scheme that has a dot, such as social.example:/callback")
}

func parseSource(text string) (Source, error) {
	kind, url, ok := strings.Cut(text, "=")
	if !ok {
		return Source{}, errors.New("must be kind=url, such as repos=https://pds.example.com")
	}
	return Source{Kind: strings.TrimSpace(kind), URL: strings.TrimSpace(url)}, nil
}

func setDev(c *Config, text string) error {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("must be true or false")
	}
	c.Dev = v
	return nil
}

func setDevHandles(c *Config, text string) error {
	handles := map[string]string{}
	for _, part := range splitList(text) {
		suffix, url, ok := strings.Cut(part, "=")
		if !ok || !strings.HasPrefix(suffix, ".") {
			return fmt.Errorf("%q must be .suffix=url, such as .one.test=http://localhost:2583", part)
		}
		handles[suffix] = url
	}
	c.DevHandles = handles
	return nil
}

func getDevHandles(c *Config) string {
	var parts []string
	for _, suffix := range slices.Sorted(maps.Keys(c.DevHandles)) {
		parts = append(parts, suffix+"="+c.DevHandles[suffix])
	}
	return strings.Join(parts, ", ")
}
