package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/oauth/client"
)

// check finds what contradicts itself or misses a part.
func check(c *Config) []Problem {
	var problems []Problem
	say := func(key, format string, args ...any) {
		problems = append(problems, Problem{Setting: key, Text: fmt.Sprintf(format, args...)})
	}
	checkServing(c, say)
	checkStorage(c, say)
	checkNetwork(c, say)
	checkDelegation(c, say)
	checkHosting(c, say)
	checkCommunity(c, say)
	checkRetention("retention.audit", c.Retention.AuditDays, say)
	checkRetention("retention.deleted_accounts", c.Retention.DeletedDays, say)
	if c.Retention.SessionDays > maxSession {
		say("retention.sessions", "is %d days; browsers keep cookies for %d at most", c.Retention.SessionDays, maxSession)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		say("log_level", "is %q; there are debug, info, warn and error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		say("log_format", "is %q; there are text and json", c.LogFormat)
	}
	return problems
}

func checkCommunity(c *Config, say sayFunc) {
	switch {
	case c.Community.Creation != CreationMembers && c.Community.Creation != CreationAdmins:
		say("community.creation", "is %q; there are members and admins", c.Community.Creation)
	case c.Community.Creation == CreationAdmins && len(c.Admins) == 0:
		say("community.creation", "is admins, but there are none; name them in admins")
	}
}

// maxSession is how long browsers keep a cookie, in days.
const maxSession = 400

// maxRetention is a hundred years, in days: more is a slip of the finger.
const maxRetention = 36_525

func checkRetention(key string, days int, say sayFunc) {
	if days > maxRetention {
		say(key, "is %d days; %d are the most", days, maxRetention)
	}
}

type sayFunc func(key, format string, args ...any)

func checkServing(c *Config, say sayFunc) {
	if err := checkListen(c.Listen); err != nil {
		say("listen", "%v", err)
	} else if c.PublicURL == "" && !loopbackListen(c.Listen) {
		say("listen", "is %s, but without public_url Atoll is a development client on this machine and listens on 127.0.0.1 or [::1] only; set public_url, or listen there", c.Listen)
	}
	if c.MetricsListen != "" {
		if err := checkListen(c.MetricsListen); err != nil {
			say("metrics_listen", "%v", err)
		} else if c.MetricsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			say("metrics_listen", "is the same address as listen; metrics have a port of their own")
		}
	}
	if c.PublicURL != "" {
		c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
		if err := CheckPublicURL(c.PublicURL); err != nil {
			say("public_url", "%v", err)
		} else if c.Dev {
			say("dev", "is true together with public_url %s; development opens doors that a public server must keep shut. Remove one of them", c.PublicURL)
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		say("tls_cert", "and tls_key belong together; one of them is missing")
	}
	if c.TLSCert != "" && c.PublicURL == "" {
		say("tls_cert", "needs public_url: without it Atoll is a development client over http on this machine")
	}
	if len(c.Roles) == 0 {
		say("roles", "is empty; name at least one of web, ingest and jobs")
	}
}

func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q must be host:port, such as 127.0.0.1:8080", addr)
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q: the host must be an IP address", addr)
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", addr)
	}
	return nil
}

func loopbackListen(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// CheckPublicURL says why a public_url could not be the origin of a
// confidential client and of a did:web: official servers refuse such a client.
func CheckPublicURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("is no address such as https://community.example.org")
	}
	switch {
	case u.Scheme != "https":
		return errors.New("must begin with https://; for development on this machine leave it empty")
	case u.User != nil || u.Path != "" || strings.ContainsAny(text, "?#"):
		return errors.New("must be an origin alone, without user, path, query or fragment")
	case u.Port() != "":
		return errors.New("must not name a port; other servers reach it at 443")
	case u.Host != strings.ToLower(u.Host):
		return errors.New("must be in lower case")
	}
	if err := client.CheckPublicHost(u.Hostname()); err != nil {
		return fmt.Errorf("has the host %s: %w; the servers that members sign in at would refuse it", u.Hostname(), err)
	}
	if _, err := identity.InstanceDID(text); err != nil {
		return fmt.Errorf("cannot be this instance's identity: %w", err)
	}
	return nil
}

func checkStorage(c *Config, say sayFunc) {
	if c.SQLite() {
		if c.DataDir == "" {
			say("data_dir", "is empty; name a folder, or give database_url")
		}
	} else {
		u, err := url.Parse(c.DatabaseURL.Reveal())
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Host == "" && u.Query().Get("host") == "" {
			say("database_url", "must look like postgres://user@host/database")
		}
		if c.SecretKey.IsZero() {
			say("secret_key", "must be given with PostgreSQL: every process needs the same one. `atoll keys generate secret` makes one")
		}
	}
	if placeholder(c.SecretKey.Reveal()) {
		say("secret_key", "is a placeholder; `atoll keys generate secret` makes a real one")
	}
}

func placeholder(text string) bool {
	switch strings.ToLower(text) {
	case "changeme", "change-me", "secret", "password", "example", "todo", "xxx", "<secret>":
		return true
	}
	return false
}

func checkNetwork(c *Config, say sayFunc) {
	if err := checkServerURL(c.PLCURL, c.Dev); err != nil {
		say("plc_url", "%v", err)
	}
	for i, s := range c.Sources {
		if !slices.Contains([]string{"repos", "jetstream", "jetstream2"}, s.Kind) {
			say("source", "number %d has the kind %q; there are repos, jetstream and jetstream2", i+1, s.Kind)
		}
		if err := checkServerURL(s.URL, c.Dev); err != nil {
			say("source", "number %d: %v", i+1, err)
		}
		if slices.IndexFunc(c.Sources, func(o Source) bool { return o == s }) < i {
			say("source", "number %d stands twice (%s)", i+1, s.URL)
		}
	}
	if len(c.DevHandles) > 0 && !c.Dev {
		say("dev_handles", "needs dev = true")
	}
	for suffix, u := range c.DevHandles {
		if err := checkServerURL(u, true); err != nil {
			say("dev_handles", "%s: %v", suffix, err)
		}
	}
}

// checkServerURL wants the origin of another server; dev allows http on loopback.
func checkServerURL(text string, dev bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is no address such as https://pds.example.com", text)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q must be an origin alone, without user, path or query", text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && dev && loopbackHost(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q must be https; http is for loopback with dev = true", text)
	}
	return fmt.Errorf("%q must begin with https://", text)
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
