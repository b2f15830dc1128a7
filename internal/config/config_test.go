package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/config"
)

// load reads settings from a file's text, an environment and flags.
func load(t *testing.T, file string, env []string, flags map[string]string) (*config.Config, []string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "atoll.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Input{File: path, Env: env, Flags: flags})
}

// mistakes returns what Load complains about, "setting: text" each.
func mistakes(t *testing.T, err error) []string {
	t.Helper()
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("Load: error %v (%T), want *config.Error", err, err)
	}
	var all []string
	for _, p := range e.Problems {
		all = append(all, p.Setting+": "+p.Text)
	}
	return all
}

func TestDefaultsAreADevelopmentClientOnThisMachine(t *testing.T) {
	t.Parallel()
	c, warnings, err := load(t, "", nil, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load without settings: %v, warnings %v", err, warnings)
	}
	if c.Retention != (config.Retention{AuditDays: 90, DeletedDays: 30, SessionDays: 180}) {
		t.Errorf("kept for so many days: %+v, want 90, 30 and 180", c.Retention)
	}
	if c.PublicURL != "" || c.Listen != "127.0.0.1:8080" || c.Dev || !c.SQLite() || !c.Has(config.RoleWeb) || !c.Has(config.RoleIngest) || !c.Has(config.RoleJobs) {
		t.Errorf("defaults are not a development client with SQLite and all roles: %+v", c)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	t.Parallel()
	file := "listen = '127.0.0.1:1001'\nlog_level = 'warn'\nlog_format = 'json'\n"
	env := []string{"ATOLL_LISTEN=127.0.0.1:1002", "ATOLL_LOG_LEVEL=error", "PATH=/bin"}
	c, _, err := load(t, file, env, map[string]string{"listen": "127.0.0.1:1003"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Listen, c.LogLevel, c.LogFormat, c.DataDir}
	if diff := cmp.Diff([]string{"127.0.0.1:1003", "error", "json", "./data"}, got); diff != "" {
		t.Errorf("flag, environment, file, default (-want +got):\n%s", diff)
	}
}

func TestEveryKindOfValueInAFile(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, `
public_url = "https://community.atoll-tests.net/"
listen = "0.0.0.0:8080"
trusted_proxies = ["10.0.0.1", "192.168.0.0/16"]
egress_allow = ["10.0.0.5:3000"]
roles = ["web"]
[[source]]
kind = "repos"
url = "https://pds.atoll-tests.net"
[[source]]
kind = "repos"
url = "https://relay.atoll-tests.net"
[limits]
sign_ins_per_minute = 7
[retention]
audit = 365
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.PublicURL != "https://community.atoll-tests.net" {
		t.Errorf("public_url = %q, want it without its slash", c.PublicURL)
	}
	if len(c.TrustedProxies) != 2 || c.TrustedProxies[0].String() != "10.0.0.1/32" || c.TrustedProxies[1].String() != "192.168.0.0/16" {
		t.Errorf("trusted_proxies = %v", c.TrustedProxies)
	}
	if len(c.EgressAllow) != 1 || c.EgressAllow[0].String() != "10.0.0.5:3000" {
		t.Errorf("egress_allow = %v", c.EgressAllow)
	}
	want := []config.Source{{Kind: "repos", URL: "https://pds.atoll-tests.net"}, {Kind: "repos", URL: "https://relay.atoll-tests.net"}}
	if diff := cmp.Diff(want, c.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if c.Has(config.RoleIngest) || c.Limits.SignInsPerMinute != 7 || c.Retention.AuditDays != 365 {
		t.Errorf("roles %v, limits %+v, retention %+v", c.Roles, c.Limits, c.Retention)
	}
}

// TestHosting holds that all of it is taken, and the domain without its dot.
func TestHosting(t *testing.T) {
	t.Parallel()
	key := "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"
	c, _, err := load(t, "[hosting]\npds_url = 'https://pds.atoll-tests.net/'\nhandle_domain = '.C.atoll-tests.net'\nrecovery_key = '"+key+"'",
		[]string{"ATOLL_HOSTING_PDS_ADMIN_PASSWORD=hunter2", "ATOLL_HOSTING_INVITE=none"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Hosting.PDSURL, c.Hosting.HandleDomain, c.Hosting.EmailDomain, c.Hosting.RecoveryKey, c.Hosting.Invite, c.Hosting.PDSAdminPassword.Reveal()}
	want := []string{"https://pds.atoll-tests.net", "c.atoll-tests.net", "c.atoll-tests.net", key, "none", "hunter2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosting (-want +got):\n%s", diff)
	}
	if c, _, err := load(t, "", nil, nil); err != nil || c.Hosting.On() {
		t.Errorf("hosting is on by default: %+v, %v", c, err)
	}
}

// TestCommunity holds that members create communities unless admins do.
func TestCommunity(t *testing.T) {
	t.Parallel()
	const admin = "did:plc:aliceaaaaaaaaaaaaaaaaaaa"
	c, _, err := load(t, "admins = ['"+admin+"']\n[community]\ncreation = 'admins'", nil, nil)
	if err != nil || c.Community.Creation != config.CreationAdmins || len(c.Admins) != 1 || c.Admins[0] != admin {
		t.Errorf("creation %q, admins %v, %v", c.Community.Creation, c.Admins, err)
	}
	if c, _, err := load(t, "", nil, nil); err != nil || c.Community.Creation != config.CreationMembers {
		t.Errorf("by default: %+v, %v", c, err)
	}
}

func TestDevelopmentHandles(t *testing.T) {
	t.Parallel()
	want := map[string]string{".one.test": "http://localhost:2583", ".two.test": "http://localhost:2584"}
	file := "dev = true\ndev_handles = { '.one.test' = 'http://localhost:2583', '.two.test' = 'http://localhost:2584' }"
	c, _, err := load(t, file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c.DevHandles); diff != "" {
		t.Errorf("from the file (-want +got):\n%s", diff)
	}
	c, _, err = load(t, "", []string{"ATOLL_DEV=true", "ATOLL_DEV_HANDLES=.one.test=http://localhost:2583,.two.test=http://localhost:2584"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c.DevHandles); diff != "" {
		t.Errorf("from the environment (-want +got):\n%s", diff)
	}
}

// TestMistakesNameTheirSetting holds S5 and S4: each mistake stops the start
// and names the setting.
func TestMistakesNameTheirSetting(t *testing.T) {
	t.Parallel()
	mistaken(t, []mistake{
		{"unknown key", "listn = 'x'", nil, "listn: there is no such setting; did you mean listen?"},
		{"unknown key in a table", "[limits]\nfoo = 1", nil, "limits.foo: there is no such setting"},
		{"unknown variable", "", []string{"ATOLL_LISTN=x"}, "ATOLL_LISTN: there is no such setting; did you mean listen?"},
		{"variable far from any", "", []string{"ATOLL_QQQQQQQQQQQQ=x"}, "ATOLL_QQQQQQQQQQQQ: there is no such setting; docs/config.md lists them"},
		{"broken file", "listen = ", nil, "line 1, column"},
		{"wrong kind of value", "listen = 1.5", nil, "listen: has a kind of value that no setting takes"},
		{"bad listen", "listen = 'nonsense'", nil, "listen: \"nonsense\" must be host:port"},
		{"listen beyond this machine without public_url", "listen = '0.0.0.0:80'", nil, "without public_url Atoll is a development client"},
		{"plain http", "public_url = 'http://community.atoll-tests.net'", nil, "public_url: must begin with https://"},
		{"an address", "public_url = 'https://10.0.0.1'", nil, "an IP address"},
		{"an IPv6 address", "public_url = 'https://[2001:db8::1]'", nil, "public_url: "},
		{"no dot", "public_url = 'https://community'", nil, "a name without a dot"},
		{"reserved name", "public_url = 'https://community.local'", nil, "top-level domain .local is reserved"},
		{"with a path", "public_url = 'https://community.atoll-tests.net/x'", nil, "origin alone"},
		{"with a port", "public_url = 'https://community.atoll-tests.net:8443'", nil, "must not name a port"},
		{"with an empty fragment", "public_url = 'https://community.atoll-tests.net#'", nil, "origin alone"},
		{"no host name", "public_url = 'https://my_site.atoll-tests.net'", nil, "public_url: "},
		{"a number for a domain", "public_url = 'https://a.123'", nil, "public_url: "},
		{"dev in public", "dev = true\npublic_url = 'https://community.atoll-tests.net'", nil, "dev: is true together with public_url"},
		{"dev is no word", "dev = 'maybe'", nil, "dev: must be true or false"},
		{"dev handles without dev", "dev_handles = {'.one.test' = 'http://localhost:1'}", nil, "dev_handles: needs dev = true"},
		{"certificate alone", "public_url = 'https://community.atoll-tests.net'\ntls_cert = 'x.pem'", nil, "tls_cert: and tls_key belong together"},
		{"postgres without key", "", []string{"ATOLL_DATABASE_URL=postgres://u:hunter2@localhost/atoll"}, "secret_key: must be given with PostgreSQL"},
		{"not postgres", "", []string{"ATOLL_DATABASE_URL=mysql://u:hunter2@localhost/atoll", "ATOLL_SECRET_KEY=x"}, "database_url: must look like postgres://"},
		{"placeholder key", "", []string{"ATOLL_SECRET_KEY=changeme"}, "secret_key: is a placeholder"},
		{"missing secret file", "", []string{"ATOLL_SECRET_KEY_FILE=/nowhere/at/all"}, "ATOLL_SECRET_KEY_FILE: cannot be read"},
		{"bad proxy", "trusted_proxies = ['proxy.example']", nil, "neither an address nor a range"},
		{"bad role", "roles = ['webb']", nil, "is no role"},
		{"no role", "roles = []", nil, "roles: is empty"},
		{"bad log level", "log_level = 'loud'", nil, "log_level: is \"loud\""},
		{"metrics on the one port", "metrics_listen = '127.0.0.1:8080'", nil, "metrics_listen: is the same address as listen"},
		{"an admin by handle", "admins = ['alice.example.com']", nil, "is not the DID of an account"},
		{"zero byte", "data_dir = \"a\\u0000b\"", nil, "data_dir: holds a zero byte"},
	})
}

// TestMistakesOfParts is that for what only some instances have: sources, limits,
// ways to write, hosting.
func TestMistakesOfParts(t *testing.T) {
	t.Parallel()
	mistaken(t, []mistake{
		{"unknown source", "source = [{kind = 'carrier-pigeon', url = 'https://pds.atoll-tests.net'}]", nil, `has the kind "carrier-pigeon"`},
		{"source over http", "source = [{kind = 'repos', url = 'http://pds.atoll-tests.net'}]", nil, "must be https"},
		{"source without url", "source = [{kind = 'repos'}]", nil, "each source needs a kind and a url"},
		{"source with more", "source = [{kind = 'repos', url = 'https://a.net', extra = 1}]", nil, `unknown key "extra"`},
		{"source twice", "source = [{kind = 'repos', url = 'https://a.net'},{kind = 'repos', url = 'https://a.net'}]", nil, "stands twice"},
		{"limit of nothing", "[limits]\nwrites_per_minute = 0", nil, "limits.writes_per_minute: must be a whole number of at least 1"},
		{"trail kept for no time", "[retention]\naudit = 0", nil, "retention.audit: must be a whole number of at least 1"},
		{"sessions kept for no time", "[retention]\nsessions = 0", nil, "retention.sessions: must be a whole number of at least 1"},
		{"sessions beyond their cookies", "[retention]\nsessions = 401", nil, "retention.sessions: is 401 days; browsers keep cookies for 400 at most"},
		{"deleted accounts kept for ever", "[retention]\ndeleted_accounts = 100000", nil, "retention.deleted_accounts: is 100000 days; 36525 are the most"},
		{"trail kept for ever", "[retention]\naudit = 100000", nil, "retention.audit: is 100000 days; 36525 are the most"},
		{"no way to write", "[delegation]\nwrites = 'carrier-pigeon'", nil, "delegation.writes: is \"carrier-pigeon\"; there are oauth, app-password and relay"},
		{"relay without an account", "[delegation]\nwrites = 'relay'", nil, "delegation.writes: is relay, which needs delegation.relay_did"},
		{"relay without a password", "[delegation]\nrelay_did = 'did:plc:abcdefghijklmnopqrstuvwx'", nil, "delegation.relay_did: and delegation.relay_password belong together"},
		{"relay without a name", "", []string{"ATOLL_DELEGATION_RELAY_PASSWORD=hunter2"}, "delegation.relay_did: and delegation.relay_password belong together"},
		{"relay by handle", "[delegation]\nrelay_did = 'relay.example.com'\nrelay_password = 'hunter2'", nil, "is no DID"},
		{"relay with a placeholder", "[delegation]\nrelay_did = 'did:plc:abcdefghijklmnopqrstuvwx'\nrelay_password = 'changeme'", nil, "delegation.relay_password: is a placeholder"},
		{"hosting without a PDS", "[hosting]\nhandle_domain = 'c.atoll-tests.net'", nil, "hosting.handle_domain: does nothing without hosting.pds_url"},
		{"hosting over http", "[hosting]\npds_url = 'http://pds.atoll-tests.net'", nil, "hosting.pds_url: \"http://pds.atoll-tests.net\" must be https"},
		{"hosting without a password", "[hosting]\npds_url = 'https://pds.atoll-tests.net'", nil, "hosting.pds_admin_password: is needed"},
		{"hosting without a domain", "[hosting]\npds_url = 'https://pds.atoll-tests.net'", nil, "hosting.handle_domain: is needed"},
		{"a placeholder for the password", "[hosting]\npds_url = 'https://pds.atoll-tests.net'", []string{"ATOLL_HOSTING_PDS_ADMIN_PASSWORD=changeme"}, "hosting.pds_admin_password: is a placeholder"},
		{"a handle domain that nobody can have", "[hosting]\npds_url = 'https://pds.atoll-tests.net'\nhandle_domain = 'town.local'", nil, "hosting.handle_domain: cannot be used: town.local cannot belong to an account: .local"},
		{"a handle domain for development", "[hosting]\npds_url = 'https://pds.atoll-tests.net'\nhandle_domain = 'one.test'", nil, "hosting.handle_domain: cannot be used"},
		{"a handle domain that is none", "[hosting]\npds_url = 'https://pds.atoll-tests.net'\nhandle_domain = 'a_b'", nil, "hosting.handle_domain: is \"a_b\""},
		{"an e-mail domain that is none", "[hosting]\npds_url = 'https://pds.atoll-tests.net'\nhandle_domain = 'c.atoll-tests.net'\nemail_domain = 'x y'", nil, "hosting.email_domain: is \"x y\""},
		{"a private recovery key", "[hosting]\nrecovery_key = 'hunter2'", nil, "hosting.recovery_key: must be the did:key"},
		{"a recovery key of another kind", "[hosting]\nrecovery_key = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'", nil, "hosting.recovery_key: must be the did:key"},
		{"unknown way of invites", "[hosting]\ninvite = 'maybe'", nil, "hosting.invite: is \"maybe\""},
		{"who creates", "[community]\ncreation = 'nobody'", nil, "community.creation: is \"nobody\""},
		{"admins create, without any", "[community]\ncreation = 'admins'", nil, "community.creation: is admins, but there are none"},
	})
}

// mistake is one in the settings, and what is said about it.
type mistake struct {
	name, file string
	env        []string
	want       string // "setting: …text…"
}

// mistaken holds that each mistake is found and named, without secrets.
func mistaken(t *testing.T, cases []mistake) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, c.file, c.env, nil)
			got := strings.Join(mistakes(t, err), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("Load(%q, %q):\n%s\nwant a mistake with %q", c.file, c.env, got, c.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the mistake shows a secret: %s", got)
			}
		})
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "listn = 'x'\nlog_level = 'loud'", []string{"ATOLL_DEV=perhaps"}, map[string]string{"roles": "cook"})
	if got := mistakes(t, err); len(got) != 4 {
		t.Errorf("got %d mistakes, want 4:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestSecretsAreNoFlags(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "", nil, map[string]string{"secret_key": "c2VjcmV0LXZhbHVl"})
	if got := mistakes(t, err); len(got) != 1 || !strings.Contains(got[0], "is a secret") || strings.Contains(got[0], "c2Vj") {
		t.Errorf("a secret as a flag: %v", got)
	}
}

func TestAMissingFileIsAMistakeOnlyWhenNamed(t *testing.T) {
	t.Parallel()
	_, _, err := config.Load(config.Input{File: filepath.Join(t.TempDir(), "none.toml")})
	if got := mistakes(t, err); len(got) != 1 || !strings.Contains(got[0], "cannot be read") {
		t.Errorf("a named file that is missing: %v", got)
	}
}

func TestSecretsComeFromFilesAndAreNeverPrinted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("c2VjcmV0LXZhbHVl\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := load(t, "", []string{"ATOLL_SECRET_KEY_FILE=" + path, "ATOLL_DATABASE_URL=postgres://u:hunter2@localhost/atoll"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.SecretKey.Reveal(); got != "c2VjcmV0LXZhbHVl" {
		t.Errorf("secret_key = %q", got)
	}
	var out strings.Builder
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "c2Vjc") || strings.Count(out.String(), "[hidden]") != 2 {
		t.Errorf("Print shows secrets, or hides that they are set:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "ATOLL_SECRET_KEY_FILE") {
		t.Errorf("Print does not say where secret_key came from:\n%s", out.String())
	}
}

func TestTwoSourcesOfOneSecretContradict(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := load(t, "", []string{"ATOLL_SECRET_KEY=y", "ATOLL_SECRET_KEY_FILE=" + path}, nil)
	if got := mistakes(t, err); len(got) != 1 || !strings.Contains(got[0], "contradicts ATOLL_SECRET_KEY") {
		t.Errorf("both variables of one secret: %v", got)
	}
}

func TestOrchestratorVariablesAreIgnoredWithAWarning(t *testing.T) {
	t.Parallel()
	env := []string{"ATOLL_PORT=tcp://10.0.0.1:80", "ATOLL_PORT_80_TCP_ADDR=10.0.0.1", "ATOLL_SERVICE_HOST=10.0.0.1", "ATOLL_SERVICE_PORT_HTTP=80"}
	_, warnings, err := load(t, "", env, nil)
	if err != nil || len(warnings) != len(env) {
		t.Errorf("Load: %v, %d warnings %q; want no error and one warning each", err, len(warnings), warnings)
	}
}

// TestEverySettingIsDocumented keeps docs/config.md whole.
func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := config.Keys()
	for _, key := range keys {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/config.md says nothing of `%s`", key)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("listen = '127.0.0.1:1'\n[[source]]\nkind='repos'\nurl='https://a.net'", "ATOLL_DEV=true")
	f.Add("dev_handles = {'.x' = 1}", "ATOLL_SOURCE=repos=https://a.net,=")
	f.Fuzz(func(t *testing.T, file, env string) {
		c, _, err := load(t, file, []string{env}, nil)
		if (c == nil) == (err == nil) {
			t.Errorf("Load(%q, %q) = %v, %v; want settings or an error", file, env, c, err)
		}
	})
}
