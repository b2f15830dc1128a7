package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
)

// listen follows the configured sources.
func (d *Daemon) listen(i *instance, ix *index.Index) error {
	in, err := ingester(d.cfg, i.Storage, ix, i.guard, i.directory, d.registry)
	if err != nil {
		return err
	}
	i.work("ingest", in.Run)
	i.ready.Want("sources", func(context.Context) error {
		standby := func(s ingest.Status) bool { return s.Standby } // another process follows them
		return troubled(slices.DeleteFunc(in.Status(), standby))
	})
	i.ready.Want("lag", in.Lagging)
	i.ready.Want("dead_letters", in.HasDead)
	return nil
}

// NewIngester makes what operators' commands about ingestion work with, beside
// a server or without one.
func NewIngester(cfg Config, storage *Storage) (*ingest.Ingester, error) {
	registry := prometheus.NewRegistry() // that nobody reads
	guard, err := outbound(cfg, registry)
	if err != nil {
		return nil, err
	}
	dir, err := directory(cfg, guard)
	if err != nil {
		return nil, err
	}
	ix, err := index.New(index.Config{DB: storage.DB, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	return ingester(cfg, storage, ix, guard, dir, registry)
}

func ingester(cfg Config, storage *Storage, ix *index.Index, guard *egress.Guard, dir *identity.Directory, metrics prometheus.Registerer) (*ingest.Ingester, error) {
	var sources []ingest.Source
	for _, s := range cfg.Settings.Sources {
		sources = append(sources, ingest.Source{Kind: s.Kind, URL: s.URL})
	}
	hosting, err := hosting(cfg.Settings, guard)
	if err != nil {
		return nil, err
	}
	var dictionary []byte
	if path := cfg.Settings.JetstreamDictionary; path != "" {
		if dictionary, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("jetstream_dictionary: %w", err)
		}
	}
	return ingest.New(ingest.Config{
		Hosting: hosting, Dictionary: dictionary,
		Retention: ingest.Retention{Deleted: time.Duration(cfg.Settings.Retention.DeletedDays) * 24 * time.Hour},
		DB:        storage.DB, Index: ix, Sources: sources,
		Stream: streamClient(guard), Fetch: guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: callSize}),
		Repos:     guard.Client(egress.Limits{Timeout: repoTimeout}),
		Directory: dir, Logger: cfg.Logger, Metrics: metrics, Now: cfg.Now,
	})
}

// hosting is how claims of communities about their host are verified. What this
// instance hosts itself it knows from its settings.
func hosting(settings *config.Config, guard *egress.Guard) (ingest.Hosting, error) {
	h := ingest.Hosting{Skip: settings.Dev, HTTP: guard.Client(egress.Limits{Timeout: documentTimeout, MaxBytes: documentSize})}
	if settings.PublicURL == "" {
		return h, nil
	}
	own, err := identity.InstanceDID(settings.PublicURL)
	h.Own = own
	if domain := "." + settings.Hosting.HandleDomain; settings.Hosting.On() {
		h.Hosts = func(handle syntax.Handle) bool { return strings.HasSuffix(handle.Normalize().String(), domain) }
	}
	return h, err
}
