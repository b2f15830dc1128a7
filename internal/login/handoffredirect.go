package login

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/session"
)

// AppRedirect is an app that is called back at an address of its own, as the
// mobile clients of this network are.
type AppRedirect struct {
	Identifier string
	// RedirectURI must be one of HandOffsConfig.Redirects, to the byte.
	RedirectURI string
	Addr        netip.Addr
	Cookies     []*http.Cookie
}

// handOutLife is how long a secret may take through the browser to its app.
const handOutLife = time.Minute

// StartAppRedirect begins a sign-in whose session is handed to an address that
// the operator has allowed. Nobody waits, and no code is typed: the browser can
// only lead to the app that its own machine has for that address.
func (s *Service) StartAppRedirect(ctx context.Context, in AppRedirect) (Started, error) {
	h := s.cfg.HandOffs
	if h == nil {
		return Started{}, errNoApps
	}
	if !slices.Contains(h.cfg.Redirects, in.RedirectURI) {
		return Started{}, fault.New(fault.Invalid, "This redirect_uri is not one that the operator of this site has allowed (setting app_redirects).").
			WithCode("InvalidRequest")
	}
	if _, err := identity.ParseInput(in.Identifier); err != nil {
		return Started{}, explain(err)
	}
	if err := h.begins.Spend(in.Addr); err != nil {
		return Started{}, err
	}
	id := rand.Text()
	err := h.insert(ctx, handOff{id: id, state: stateInitiated, identifier: in.Identifier, name: in.RedirectURI,
		origin: session.Origin(in.Addr), redirect: in.RedirectURI, expires: h.now().Add(HandOffLife)})
	if err != nil {
		return Started{}, explain(err)
	}
	return s.OpenApp(ctx, OpenApp{ID: id, Addr: in.Addr, Cookies: in.Cookies})
}

// callBack leads the browser to the app, with the first secret of its session.
func (s *Service) callBack(ctx context.Context, r handOff, sessionID string, did syntax.DID, out Outcome) (Outcome, error) {
	h := s.cfg.HandOffs
	secret, err := h.cfg.Apps.HandOut(ctx, sessionID, h.now().Add(handOutLife))
	if err != nil {
		return out, explain(err)
	}
	err = h.change(ctx, r.id, func(handOff, time.Time) (string, []any, error) {
		return `state = $1, approver_hash = NULL`, []any{string(StateDelivered)}, nil
	})
	if err != nil {
		return out, explain(err)
	}
	out.ReturnTo = withQuery(r.redirect, url.Values{
		"token": {secret.Reveal()}, "did": {did.String()}, "session_id": {sessionID}, "handle": {s.handle(ctx, did).String()},
	})
	return out, nil
}

// refused is where an app is told that the member declined (RFC 6749, 4.1.2.1).
func refused(redirect string) string {
	return withQuery(redirect, url.Values{"error": {"access_denied"}})
}

// withQuery adds parameters to an address that has none.
func withQuery(uri string, q url.Values) string { return fmt.Sprintf("%s?%s", uri, q.Encode()) }
