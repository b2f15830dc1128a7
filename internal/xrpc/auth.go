package xrpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/aggregator"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/servicetoken"
	"github.com/atoll-social/atoll/internal/session"
)

// auth says whether a method has to know who asks.
type auth uint8

const (
	optional auth = iota + 1 // answers everybody, and members a little more
	required
)

// ActingHeader carries the DID that a call with a cookie acts for (S25). It
// names nobody: a call whose cookie is another account's is refused.
const ActingHeader = "Atoll-Acting-DID"

// caller is who asks, proven. The zero caller is a visitor. Callers by service
// token and by key have no session: what is written for them goes by the newest
// live one of their account.
type caller struct {
	account session.Account
	proof   proof // one of them; 0 for a visitor
}

// Services judges tokens that members' servers sign; servicetoken.Verifier does.
type Services interface {
	// Verify calls ask before it asks others who an account is.
	Verify(ctx context.Context, token string, method syntax.NSID, write bool, ask func() error) (servicetoken.Caller, error)
}

// authenticate finds out who asks (A9). Only what can be verified says so, and
// only what the table accepts for the method. A request with an Authorization
// header is judged by that alone; its cookies are not read.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request, m method) (caller, error) {
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		return s.bearer(r, values, m)
	}
	token := s.cfg.Cookies.Device(r)
	if token.IsZero() || m.takes()&byCookie == 0 {
		return visitor(m)
	}
	if err := s.cfg.Origins.Check(r); err != nil {
		return caller{}, err
	}
	device, ok, err := s.cfg.Sessions.Device(r.Context(), token)
	if err != nil {
		return caller{}, err
	}
	if !ok {
		return visitor(m)
	}
	if device.Renewed {
		s.cfg.Cookies.SetDevice(w, token)
	}
	if m.verb == http.MethodPost {
		return acting(device, r)
	}
	account, ok := device.Current()
	if !ok {
		return visitor(m)
	}
	return caller{account, byCookie}, nil
}

// bearer finds out who asks by a token: an app of a member (N5, N6), a member's
// server, or an aggregator. The form of the token says who is to judge it.
func (s *Server) bearer(r *http.Request, values []string, m method) (caller, error) {
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if len(values) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return caller{}, refuseToken(values, m)
	}
	switch {
	case aggregator.IsKey(token):
		return s.key(r.Context(), token, m)
	case servicetoken.Looks(token):
		return s.service(r, token, m)
	case s.cfg.Apps == nil || m.takes()&byApp == 0:
		return caller{}, refuseToken(values, m)
	}
	app, err := s.cfg.Apps.Authenticate(r.Context(), token)
	if errors.Is(err, session.ErrNotToken) {
		return caller{}, refuseToken(values, m)
	}
	return caller{app.Account, byApp}, err
}

// service finds out for whom a server calls.
func (s *Server) service(r *http.Request, token string, m method) (caller, error) {
	if s.cfg.Services == nil || m.takes()&byService == 0 {
		return caller{}, fault.New(fault.Unauthenticated, "This method takes no tokens of services.").WithCode("AuthRequired")
	}
	who, err := s.cfg.Services.Verify(r.Context(), token, m.nsid, m.verb == http.MethodPost, s.lookUps(r, caller{}))
	if err != nil {
		return caller{}, err
	}
	return caller{session.Account{DID: who.DID, Handle: who.Handle, Live: true}, byService}, nil
}

// lookUps is to be called before others are asked because of r.
func (s *Server) lookUps(r *http.Request, who caller) func() error {
	return s.cfg.LookUps.Of(r, who.account.DID != "")
}

// visitor is somebody unknown, where that is enough.
func visitor(m method) (caller, error) {
	if m.auth == required {
		return caller{}, session.ErrSignedOut
	}
	return caller{}, nil
}

// acting is the account that a call which changes something acts for.
func acting(device session.Device, r *http.Request) (caller, error) {
	did, err := syntax.ParseDID(r.Header.Get(ActingHeader))
	if err != nil {
		did = ""
	}
	account, err := device.Acting(did)
	if errors.Is(err, session.ErrNoActor) {
		return caller{}, invalid(err, "The header "+ActingHeader+" must say which account the call acts for.")
	}
	return caller{account, byCookie}, err
}

// refuseToken says why a token proves nothing here. A token that a PDS issued
// for its own client can do by itself what a write method would do for it, so
// the client is told how (A8).
func refuseToken(values []string, m method) error {
	scheme, token, _ := strings.Cut(values[0], " ")
	isToken := strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP")
	if len(values) == 1 && isToken && (m.writes != "" || m.nsid == uploadImageMethod) && isForeignToken(token) {
		with := "com.atproto.repo.uploadBlob at your PDS. The record that you write there refers to the blob"
		if m.writes != "" {
			with = "com.atproto.repo." + directCall(m.nsid) + " at your PDS with collection " + m.writes.String() + ". It is indexed here like any other"
		}
		return fault.New(fault.Unauthenticated, "This token was issued by another server for use there. "+
			"With it, do this yourself: call "+with+", so "+m.nsid.String()+" is not needed.").WithCode("DirectWriteRequired")
	}
	return fault.New(fault.Unauthenticated, "This token was not issued by this server, or is over.").WithCode("AuthRequired")
}

// directCall is what a client calls at its PDS in place of a method of ours.
func directCall(nsid syntax.NSID) string {
	switch name := nsid.Name(); {
	case name == "delete", strings.HasPrefix(name, "un"):
		return "deleteRecord"
	case strings.HasPrefix(name, "update"):
		return "putRecord"
	}
	return "createRecord"
}

// isForeignToken recognises an access token of a PDS or its authorization
// server, unverified: it only chooses the words of a refusal.
func isForeignToken(token string) bool {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 || len(token) > 16<<10 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Subject string `json:"sub"`
		Method  string `json:"lxm"` // tokens of services name one
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Method != "" {
		return false
	}
	_, err = syntax.ParseDID(claims.Subject)
	return err == nil
}
