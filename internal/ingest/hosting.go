package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/time/rate"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	// How long an answer about a host counts: that it speaks for its domain,
	// and that it does not. The latter doubles up to hostAgainMax.
	hostGoodFor  = 24 * time.Hour
	hostBadFor   = 5 * time.Minute
	hostAgainMax = 24 * time.Hour
	hostsKept    = 1000 // answers in memory
	hostsRate    = 10   // documents asked for, a second
	hostWorkers  = 8
	// hostTimeout bounds asking for one document.
	hostTimeout = 10 * time.Second
	// hostDocument is the largest document that is read, in bytes.
	hostDocument = 64 << 10
	// hostPatience is how often in a row a host that was confirmed before may
	// not answer until its communities are refused: some three days.
	hostPatience = 12
	// A registrable domain gets so many documents of a burst, then one in a
	// while, so that one with countless names cannot keep the others waiting.
	domainBurst = 20
	domainEvery = 10 * time.Second
)

// Hosting says how claims of communities about the server that holds their
// credentials are verified (H7).
type Hosting struct {
	// Skip leaves them all unverified and shown: for development.
	Skip bool
	// Own is the identity of this instance, empty when it has none, and Hosts
	// tells whether an account with this handle is one of those that it hosts:
	// that is known here and not asked. Nil Hosts means none.
	Own   syntax.DID
	Hosts func(handle syntax.Handle) bool
	// HTTP fetches the documents. It must be guarded and must not follow
	// redirects.
	HTTP *http.Client
}

// errClaim tells that a claim is wrong whatever its host says.
var errClaim = errors.New("the host's domain is not the community's")

// hostChecker verifies claims in the background. What is to be verified is in
// the database.
type hostChecker struct {
	in    *Ingester
	asked *rate.Limiter

	mu      sync.Mutex
	answers map[syntax.DID]hostAnswer
	domains map[string]*rate.Limiter
}

// hostAnswer is what asking a host gave. err is nil when it speaks for its
// domain.
type hostAnswer struct {
	err   error
	until time.Time
}

func newHostChecker(in *Ingester) *hostChecker {
	return &hostChecker{
		in: in, asked: rate.NewLimiter(hostsRate, hostsRate),
		answers: map[syntax.DID]hostAnswer{}, domains: map[string]*rate.Limiter{},
	}
}

// run verifies claims until ctx ends.
func (h *hostChecker) run(ctx context.Context) {
	if h.in.cfg.Hosting.Skip {
		h.in.log.WarnContext(ctx, "development: what communities say about their host is not verified, anybody can pose as hosted anywhere")
		return
	}
	ticker := time.NewTicker(h.in.cfg.Limits.ResolveEvery)
	defer ticker.Stop()
	for {
		more, err := h.round(ctx)
		if err != nil && ctx.Err() == nil {
			h.in.log.WarnContext(ctx, "hosting claims cannot be settled, trying again", "error", err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// round settles claims that are due, each by one of a few workers, and tells
// whether there may be more.
func (h *hostChecker) round(ctx context.Context) (more bool, err error) {
	const most = 4 * hostWorkers
	claims, err := h.in.cfg.Index.HostClaims(ctx, most)
	if err != nil {
		return false, err
	}
	work := make(chan index.HostClaim)
	failed := make([]error, hostWorkers)
	var wg sync.WaitGroup
	for n := range failed {
		wg.Go(func() {
			for c := range work {
				failed[n] = errors.Join(failed[n], h.settle(ctx, c))
			}
		})
	}
	for _, c := range claims {
		work <- c
	}
	close(work)
	wg.Wait()
	return len(claims) == most, errors.Join(failed...)
}

// settle answers one claim.
func (h *hostChecker) settle(ctx context.Context, c index.HostClaim) error {
	answer := h.judge(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err() // it stays due
	}
	if err := h.in.cfg.Index.AnswerHost(ctx, c, answer); err != nil {
		return fmt.Errorf("answer the claim of %s: %w", c.Community.DID, err)
	}
	return nil
}

// judge says whether a claim holds, and when to look again.
func (h *hostChecker) judge(ctx context.Context, c index.HostClaim) index.HostAnswer {
	err := h.check(ctx, c)
	yes := err == nil
	var wait *waitError
	switch {
	case yes:
		return index.HostAnswer{OK: &yes, Again: hostGoodFor + jitter(hostGoodFor/10)}
	case errors.As(err, &wait):
		return index.HostAnswer{Again: wait.wait}
	}
	h.in.log.DebugContext(ctx, "hosting claim not confirmed", "community", c.Community.DID, "handle", c.Community.Handle,
		"host", c.HostedBy, "attempts", c.Tries+1, "error", err)
	again := hostAgainMax
	if c.Tries < 16 && !errors.Is(err, errClaim) {
		again = min(hostBadFor<<c.Tries, hostAgainMax)
	}
	answer := index.HostAnswer{OK: &yes, Failed: true, Again: again + jitter(again/10)}
	var refused *refusedError
	away := !errors.Is(err, errClaim) && !errors.As(err, &refused)
	if away && c.Held && c.Tries < hostPatience {
		answer.OK = nil // it was confirmed before
	}
	return answer
}

// waitError tells that a claim must wait for its turn.
type waitError struct{ wait time.Duration }

func (*waitError) Error() string { return "too many hosts under one domain" }

// refusedError tells that a host answers, and does not confirm the claim.
type refusedError struct{ cause error }

func (e *refusedError) Error() string { return e.cause.Error() }
func (e *refusedError) Unwrap() error { return e.cause }

// check verifies a claim: the handle and the host are under one domain that
// somebody has registered, and the host says of itself that it is that host.
func (h *hostChecker) check(ctx context.Context, c index.HostClaim) error {
	own := h.in.cfg.Hosting
	if own.Own != "" && c.HostedBy == own.Own {
		if own.Hosts == nil || !own.Hosts(c.Community.Handle) {
			return fmt.Errorf("%w: this instance does not host it", errClaim)
		}
		return nil
	}
	host, err := hostName(c.HostedBy)
	if err != nil {
		return fmt.Errorf("%w: %w", errClaim, err)
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return fmt.Errorf("%w: %w", errClaim, err)
	}
	handles, err := publicsuffix.EffectiveTLDPlusOne(c.Community.Handle.Normalize().String())
	if err != nil || handles != domain {
		return fmt.Errorf("%w: %.100q is not under %s", errClaim, c.Community.Handle, domain)
	}
	return h.speaks(ctx, c.HostedBy, host, domain)
}

// hostName is the host of a did:web that names nothing but a host.
func hostName(did syntax.DID) (string, error) {
	if _, err := syntax.ParseDID(did.String()); err != nil || did.Method() != "web" {
		return "", errors.New("not a did:web")
	}
	host, err := syntax.ParseHandle(did.Identifier()) // which refuses ports, paths and addresses
	if err != nil || host.Normalize() != host {
		return "", errors.New("not a host name in lower case, without port and path")
	}
	return host.String(), nil
}

// speaks tells whether a host says of itself that it is did, from memory where
// that was asked lately.
func (h *hostChecker) speaks(ctx context.Context, did syntax.DID, host, domain string) error {
	now := h.in.cfg.Now()
	h.mu.Lock()
	have, known := h.answers[did]
	h.mu.Unlock()
	if known && now.Before(have.until) {
		return have.err
	}
	if !h.turn(domain, now) {
		return &waitError{domainEvery + jitter(5*time.Minute)}
	}
	if err := h.asked.Wait(ctx); err != nil {
		return err
	}
	err := h.fetch(ctx, did, host)
	if ctx.Err() != nil {
		return err
	}
	h.remember(did, hostAnswer{err, now.Add(validity(err))})
	return err
}

func validity(err error) time.Duration {
	if err == nil {
		return hostGoodFor
	}
	return hostBadFor
}

// turn tells whether another document of a domain may be asked for.
func (h *hostChecker) turn(domain string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.domains[domain]
	if l == nil {
		if len(h.domains) >= hostsKept {
			clear(h.domains)
		}
		l = rate.NewLimiter(rate.Every(domainEvery), domainBurst)
		h.domains[domain] = l
	}
	return l.AllowN(now, 1)
}

// remember keeps an answer in place of one that is over, or of any.
func (h *hostChecker) remember(did syntax.DID, a hostAnswer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.answers[did]; !known && len(h.answers) >= hostsKept {
		var victim syntax.DID
		for other, have := range h.answers {
			if victim = other; !h.in.cfg.Now().Before(have.until) {
				break
			}
		}
		delete(h.answers, victim)
	}
	h.answers[did] = a
}

// fetch asks a host for its document (did:web method, DID resolution).
func (h *hostChecker) fetch(ctx context.Context, did syntax.DID, host string) error {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	address := url.URL{Scheme: "https", Host: host, Path: "/.well-known/did.json"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/did+json, application/json")
	res, err := h.in.cfg.Hosting.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s who it is: %w", host, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("%s answers with status %d", host, res.StatusCode)
	}
	if res.StatusCode != http.StatusOK {
		return &refusedError{fmt.Errorf("%s answers with status %d", host, res.StatusCode)}
	}
	if err := confirms(http.MaxBytesReader(nil, res.Body, hostDocument), did, host); err != nil {
		return fmt.Errorf("document of %s: %w", host, err)
	}
	return nil
}

// confirms reads a document that must be did's and name its host.
func confirms(body interface{ Read([]byte) (int, error) }, did syntax.DID, host string) error {
	var doc struct {
		ID          string   `json:"id"`
		AlsoKnownAs []string `json:"alsoKnownAs"`
	}
	if err := json.NewDecoder(body).Decode(&doc); err != nil {
		return &refusedError{err}
	}
	named := slices.ContainsFunc(doc.AlsoKnownAs, func(name string) bool {
		_, rest, found := strings.Cut(name, "://")
		if !found {
			rest = name
		}
		return strings.EqualFold(strings.TrimSuffix(rest, "/"), host)
	})
	switch {
	case doc.ID != did.String():
		return &refusedError{fmt.Errorf("it is that of %.100q", doc.ID)}
	case !named:
		return &refusedError{fmt.Errorf("alsoKnownAs does not name %s", host)}
	}
	return nil
}
