// Package config reads Atoll's settings from defaults, a file, the environment
// and flags, in that order, into one typed tree. Every mistake is reported, all
// of them together, each with the setting's name.
package config

import (
	"net/netip"
	"path/filepath"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Config is the whole of the settings, checked. docs/config.md explains each.
type Config struct {
	Listen      string         // address of the one port, host:port
	PublicURL   string         // https origin without a slash at its end; empty means a loopback development client
	DataDir     string         // folder of the embedded database and of the key made for it
	DatabaseURL keyring.Secret // postgres://…; empty means SQLite in DataDir
	SecretKey   keyring.Secret // master keys, newest first, one a line; empty means the file that SecretKeyPath names
	Dev         bool           // widen: loopback targets, http issuers on loopback, DevHandles
	DevHandles  map[string]string
	PLCURL      string
	Sources     []Source
	// JetstreamDictionary is a file; empty means that Jetstream sends plain text.
	JetstreamDictionary string
	Roles               []Role
	MetricsListen       string
	AppRedirects        []string // where apps of members may be called back, to the byte
	TLSCert             string
	TLSKey              string

	TrustedProxies []netip.Prefix
	EgressAllow    []netip.AddrPort

	LogLevel  string // debug, info, warn, error
	LogFormat string // text, json

	Delegation Delegation
	Hosting    Hosting
	Community  Community
	Admins     []syntax.DID // look after every community that is hosted here
	Limits     Limits
	Retention  Retention

	origins map[string]origin
}

// Community says who does what about communities.
type Community struct {
	Creation string // members or admins: who creates one
}

// Who creates communities.
const (
	CreationMembers = "members"
	CreationAdmins  = "admins"
)

// Hosting says where accounts for communities are made. It is off without PDSURL.
type Hosting struct {
	PDSURL           string         // origin of the instance's PDS
	PDSAdminPassword keyring.Secret // of the PDS's administrator
	HandleDomain     string         // handles are {name}.HandleDomain; without a dot at its beginning
	EmailDomain      string         // accounts get an address there; empty: HandleDomain
	RecoveryKey      string         // did:key of the operator; empty: Atoll makes one for each account
	Invite           string         // mint, none
}

// On reports whether accounts can be made.
func (h Hosting) On() bool { return h.PDSURL != "" }

// Limits bound what one address or account may ask for.
type Limits struct {
	SignInsPerMinute  int // begun sign-ins, per address (IPv6: per /64)
	RequestsPerMinute int // everything else, per address
	WritesPerMinute   int // records written through Atoll, per account
	PictureCacheMB    int // megabytes of resized pictures in the data folder
	CommunitiesPerDay int // communities that one member creates

	AggregatorPostsPerHour int // posts by key, per aggregator and community
}

// Retention says how long things are kept that nobody asks to have removed.
type Retention struct {
	AuditDays   int // rows of the audit trail
	DeletedDays int // what accounts wrote that their servers call deleted
	SessionDays int // devices and sessions that nobody uses
}

// Source is a stream of the network to listen to.
type Source struct {
	Kind string `toml:"kind"` // repos (com.atproto.sync.subscribeRepos of a PDS or relay), jetstream or jetstream2
	URL  string `toml:"url"`
}

// Role is a part of the work that a process does.
type Role string

// The roles. A process without a list does all of them.
const (
	RoleWeb    Role = "web"    // answer requests
	RoleIngest Role = "ingest" // listen to the sources
	RoleJobs   Role = "jobs"   // do what is done later
)

// Has reports whether this process does role's work.
func (c *Config) Has(role Role) bool {
	for _, r := range c.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// SQLite reports whether the embedded database is used.
func (c *Config) SQLite() bool { return c.DatabaseURL.IsZero() }

// SQLitePath is where the embedded database is.
func (c *Config) SQLitePath() string { return filepath.Join(c.DataDir, "atoll.db") }

// SecretKeyPath is where the key is that Atoll makes for an embedded database
// when SecretKey is empty.
func (c *Config) SecretKeyPath() string { return filepath.Join(c.DataDir, "secret.key") }

// Default returns the settings of an `atoll serve` without any.
func Default() *Config {
	return &Config{
		Listen:     "127.0.0.1:8080",
		DataDir:    "./data",
		PLCURL:     "https://plc.directory",
		Roles:      []Role{RoleWeb, RoleIngest, RoleJobs},
		LogLevel:   "info",
		LogFormat:  "text",
		Delegation: Delegation{Writes: "oauth"},
		Hosting:    Hosting{Invite: "mint"},
		Community:  Community{Creation: CreationMembers},
		Limits:     Limits{SignInsPerMinute: 20, RequestsPerMinute: 600, WritesPerMinute: 60, PictureCacheMB: 1024, CommunitiesPerDay: 10, AggregatorPostsPerHour: 10},
		Retention:  Retention{AuditDays: 90, DeletedDays: 30, SessionDays: 180},
		origins:    map[string]origin{},
	}
}
