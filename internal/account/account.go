// Package account keeps the accounts that Atoll hosts on the instance's PDS, one
// for each community: it makes them in steps that survive a crash, acts as them
// with their own credentials, renews those, and answers for their handles.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// Profile is the collection whose record `self` makes an account a community.
const Profile = syntax.NSID("social.coves.community.profile")

// Directory finds out what the network says of an account.
type Directory interface {
	LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error)
	PDS(ident *sdk.Identity) (string, error)
	Purge(ctx context.Context, id syntax.AtIdentifier) error
}

// Hosting says where accounts are made. The zero value: nowhere.
type Hosting struct {
	PDS           string         // origin
	AdminPassword keyring.Secret // of that PDS
	HandleDomain  string         // handles are {name}.HandleDomain
	EmailDomain   string
	RecoveryKey   string // did:key of the operator; empty: one is made for each account
	Mint          bool   // an invite code for each account
}

// Config is what a Manager is made of.
type Config struct {
	DB        *store.DB
	Ring      *keyring.Ring
	Queue     *job.Queue
	Directory Directory
	HTTP      *http.Client // guarded, without redirects
	PLCURL    string       // origin of the did:plc directory
	Hosting   Hosting
	Logger    *slog.Logger
	Metrics   prometheus.Registerer // nil: nobody reads them
	// Daily is how many accounts one member may have made within 24 hours; 0 is
	// no bound.
	Daily int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Point is a seam for tests: it is told of every step of provisioning before
	// and after what the step does outside. nil for everything else.
	Point func(step string)
}

// Manager knows all hosted accounts. It is safe for concurrent use, by several
// processes on one database.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	admin   *pds.Client // of the instance's PDS; nil without one
	renewal singleflight.Group
}

// New checks cfg and registers its jobs with the queue. It does no I/O.
func New(cfg Config) (*Manager, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.Queue == nil || cfg.Directory == nil || cfg.HTTP == nil || cfg.Logger == nil {
		return nil, errors.New("account: database, ring, queue, directory, HTTP client and logger are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Point == nil {
		cfg.Point = func(string) {}
	}
	m := &Manager{cfg: cfg, log: cfg.Logger.With("component", "account")}
	var err error
	if m.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if cfg.Hosting.PDS != "" {
		m.admin, err = m.client(cfg.Hosting.PDS, pds.Admin{HTTP: cfg.HTTP, Password: cfg.Hosting.AdminPassword})
		if err != nil {
			return nil, fmt.Errorf("account: %w", err)
		}
	}
	cfg.Queue.Register(provisionKind, m.provisionJob, job.Limit(4), job.Timeout(provisionTime))
	cfg.Queue.Register(lookKind, m.lookJob, job.Limit(2), job.Timeout(checkTime))
	cfg.Queue.Register(checkKind, m.checkJob, job.Limit(1), job.Timeout(checkTime))
	cfg.Queue.Periodic(checkKind, checkEvery)
	return m, nil
}

// client calls a PDS. Without a doer it asks as nobody.
func (m *Manager) client(origin string, doer pds.Doer) (*pds.Client, error) {
	if doer == nil {
		doer = m.cfg.HTTP
	}
	return pds.New(pds.Config{Origin: origin, HTTP: doer, Now: m.cfg.Now})
}

// state is how far an account has come.
type state string

const (
	reserved  state = "reserved"  // name and credentials are kept here; nothing is on the PDS
	creating  state = "creating"  // the PDS may have been asked for the account
	created   state = "created"   // it is there, and its credentials are saved
	published state = "published" // the community's profile is in its repository
	active    state = "active"    // the network sees it as it should
	undoing   state = "undoing"   // it failed; what is on the PDS is being removed
	undone    state = "undone"    // nothing is left but the reason
)

// statusActive is the status of an account that its PDS calls active.
const statusActive = "active"

// Hosted is an account of ours that is ready.
type Hosted struct {
	DID    syntax.DID
	Handle syntax.Handle
	// URI, CID and Rev are those of the community's profile as it was made. Rev is
	// empty where a crash has lost it; the stream brings it.
	URI syntax.ATURI
	CID syntax.CID
	Rev syntax.TID
}

// Hosts reports whether this instance holds the credentials of did, and the
// account is ready.
func (m *Manager) Hosts(ctx context.Context, did syntax.DID) (bool, error) {
	var yes bool
	err := m.cfg.DB.Read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM hosted_account WHERE did = $1 AND state = 'active')`,
		did.String()).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look for hosted account %s: %w", did, err)
	}
	return yes, nil
}

// DIDOf answers for the handle of a hosted account, only while that is active.
func (m *Manager) DIDOf(ctx context.Context, handle syntax.Handle) (did syntax.DID, ok bool, err error) {
	rows, err := m.cfg.DB.Read().QueryContext(ctx, `SELECT did FROM hosted_account WHERE handle = $1 AND did <> ''
		AND status = 'active' AND state IN ('created', 'published', 'active')`, handle.Normalize().String())
	if err != nil {
		return "", false, fmt.Errorf("look for handle %s: %w", handle, err)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&did)
		ok = true
	}
	return did, ok, errors.Join(err, rows.Err())
}
