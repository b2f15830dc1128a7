// Package community is what members and moderators do with communities: finding
// them by name, creating and changing them, following and blocking, and who and
// what is admitted.
package community

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
)

// Agent reads records, chooses keys for new ones and stores files; agent.Agent
// does.
type Agent interface {
	Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error)
	Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error)
	Upload(ctx context.Context, actor agent.Actor, u agent.Upload) (atdata.Blob, error)
}

// Config is what a Service needs.
type Config struct {
	// DB holds the tables community_….
	DB      *store.DB
	Index   *index.Index
	Agent   Agent
	Records *record.Writer
	Names   *Resolver
	Jobs    Queue
	// Hosting knows which communities this instance holds the credentials of;
	// nil: none.
	Hosting Hosting
	// HostingOff tells that no more can be made.
	HostingOff bool
	// Instance is this instance's own DID.
	Instance syntax.DID
	// Admins look after every community that is hosted here. With AdminsOnly
	// nobody else creates one.
	Admins     []syntax.DID
	AdminsOnly bool
	Logger     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service acts for members and moderators. It is safe for concurrent use.
type Service struct {
	cfg    Config
	log    *slog.Logger
	wake   chan struct{}
	studio *record.Studio
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Agent == nil || cfg.Records == nil || cfg.Names == nil || cfg.Jobs == nil || cfg.Logger == nil {
		return nil, errors.New("community: database, index, agent, records, names, jobs and logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger.With("component", "community"), wake: make(chan struct{}, 1),
		studio: record.NewStudio()}, nil
}

// Hosting is where this instance's communities live; account.Manager is.
type Hosting interface {
	// Hosts reports whether this instance holds an account's credentials.
	Hosts(ctx context.Context, did syntax.DID) (bool, error)
	// Provision makes an account with a profile.
	Provision(ctx context.Context, req account.Request) (account.Hosted, error)
}

func (s *Service) hosts(ctx context.Context, did syntax.DID) (bool, error) {
	if s.cfg.Hosting == nil {
		return false, nil
	}
	return s.cfg.Hosting.Hosts(ctx, did)
}

func (s *Service) isAdmin(did syntax.DID) bool { return slices.Contains(s.cfg.Admins, did) }

// Record is a record that is in its repository.
type Record struct {
	URI syntax.ATURI
	CID syntax.CID
	// Existing tells that it said the same before.
	Existing bool
}
