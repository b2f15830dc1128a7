// Package community is what members and moderators do with communities: finding
// them by name, creating and changing them, following and blocking, and who and
// what is admitted.
package community

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
)

// Agent reads records and chooses keys for new ones; agent.Agent does.
type Agent interface {
	Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error)
	Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error)
}

// Config is what a Service needs.
type Config struct {
	// DB holds the tables community_….
	DB      *store.DB
	Index   *index.Index
	Agent   Agent
	Records *record.Writer
	Names   *Resolver
	Logger  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service acts for members and moderators. It is safe for concurrent use.
type Service struct {
	cfg Config
	log *slog.Logger
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Agent == nil || cfg.Records == nil || cfg.Names == nil || cfg.Logger == nil {
		return nil, errors.New("community: database, index, agent, records, names and logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger.With("component", "community")}, nil
}

// Record is a record that is in its repository.
type Record struct {
	URI syntax.ATURI
	CID syntax.CID
	// Existing tells that it said the same before.
	Existing bool
}
