package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/rpc"
	"github.com/atoll-social/atoll/internal/xrpc"
)

// accounts is the accounts that this instance hosts. Without a PDS in the
// settings none can be made, and those that are there go on.
func (d *Daemon) accounts(i *instance) (*account.Manager, error) {
	m, err := accounts(d.cfg, i.Storage, i.guard, i.directory, i.queue, d.registry)
	if err != nil {
		return nil, err
	}
	i.ready.Want("hosted accounts", m.Trouble)
	return m, nil
}

func accounts(cfg Config, storage *Storage, guard *egress.Guard, dir *identity.Directory, queue *job.Queue, metrics prometheus.Registerer) (*account.Manager, error) {
	return account.New(account.Config{
		DB: storage.DB, Ring: storage.Ring, Queue: queue, Directory: dir, PLCURL: cfg.Settings.PLCURL,
		HTTP:    guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: callSize}),
		Hosting: hostingOf(cfg.Settings.Hosting), Daily: cfg.Settings.Limits.CommunitiesPerDay, Logger: cfg.Logger, Metrics: metrics, Now: cfg.Now,
	})
}

func hostingOf(s config.Hosting) account.Hosting {
	return account.Hosting{
		PDS: s.PDSURL, AdminPassword: s.PDSAdminPassword, HandleDomain: s.HandleDomain, EmailDomain: s.EmailDomain,
		RecoveryKey: s.RecoveryKey, Mint: s.Invite == "mint",
	}
}

// NewAccounts makes what operators' commands about hosted accounts work with,
// beside a server or without one.
func NewAccounts(cfg Config, storage *Storage) (*account.Manager, error) {
	out, err := newOutside(cfg)
	if err != nil {
		return nil, err
	}
	m, _, err := out.accounts(cfg, storage)
	return m, err
}

// outside is what operators' commands reach others with.
type outside struct {
	guard     *egress.Guard
	directory *identity.Directory
	calls     *http.Client
	registry  *prometheus.Registry // that nobody reads
}

func newOutside(cfg Config) (*outside, error) {
	o := &outside{registry: prometheus.NewRegistry()}
	var err error
	if o.guard, err = outbound(cfg, o.registry); err != nil {
		return nil, err
	}
	o.calls = o.guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: callSize})
	o.directory, err = directory(cfg, o.guard)
	return o, err
}

func (o *outside) accounts(cfg Config, storage *Storage) (*account.Manager, *job.Queue, error) {
	queue, err := job.New(job.Config{DB: storage.DB, Logger: cfg.Logger, Now: cfg.Now})
	if err != nil {
		return nil, nil, err
	}
	m, err := accounts(cfg, storage, o.guard, o.directory, queue, o.registry)
	return m, queue, err
}

// lookAtHosted has hosted accounts looked at when the network says something new
// about them.
func lookAtHosted(m *account.Manager) ingest.Subscriber {
	return func(ctx context.Context, a index.AccountChange) error { return m.Changed(ctx, a.DID) }
}

// didPath is where a handle's host says whose it is (AT Protocol handle
// specification, HTTPS well-known method).
const didPath = "/.well-known/atproto-did"

// answerHandles answers at the names of hosted accounts, by the Host header, for
// as long as those are active (H6). Every other request goes on.
func answerHandles(m *account.Manager, render httpserver.Renderer) httpserver.Middleware {
	return func(next http.Handler) http.Handler {
		own := httpserver.Handler(render, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			handle, err := syntax.ParseHandle(hostOf(r))
			if err != nil {
				return fault.Wrap(fault.NotFound, err, "There is no account at this address.")
			}
			did, ok, err := m.DIDOf(r.Context(), handle)
			if err != nil {
				return err
			}
			if !ok {
				return fault.New(fault.NotFound, "There is no account at this address.")
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "public, max-age=60")
			_, err = fmt.Fprint(w, did)
			return err
		})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == didPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
				own.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// leadHome sends readers of pages at the name of a hosted account to origin: its
// own page there for the beginning, and the same address otherwise. They would be
// signed out at that name, and no form that they send from it is taken: cookies and
// forms are of one host. What programs ask for stays, and so does every host
// that is no active account's.
func leadHome(m *account.Manager, origin string, render httpserver.Renderer) httpserver.Middleware {
	_, own, _ := strings.Cut(origin, "://")
	return func(next http.Handler) http.Handler {
		return httpserver.Handler(render, func(w http.ResponseWriter, r *http.Request) error {
			host := hostOf(r)
			handle, err := syntax.ParseHandle(host)
			if err != nil || strings.EqualFold(host, own) || !isPage(r) {
				next.ServeHTTP(w, r)
				return nil //nolint:nilerr // such a host is nobody's
			}
			_, ok, err := m.DIDOf(r.Context(), handle)
			if err != nil {
				return err
			}
			if !ok {
				next.ServeHTTP(w, r)
				return nil
			}
			to := *r.URL
			if to.Path == "/" {
				to.Path, to.RawPath = "/c/"+handle.Normalize().String(), ""
			}
			w.Header().Set("Cache-Control", "public, max-age=60")
			http.Redirect(w, r, origin+to.RequestURI(), http.StatusFound)
			return nil
		})
	}
}

// isPage reports that r is by somebody who reads, and not by a program.
func isPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/") || rpc.Owns(r.URL.Path) {
		return false
	}
	for _, prefix := range []string{"/.well-known/", xrpc.Prefix, "/api/", "/healthz", "/readyz"} {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return false
		}
	}
	return true
}

// hostOf is the host name that a request was sent to, without a port.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(host, ".")
}
