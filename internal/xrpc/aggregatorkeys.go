package xrpc

import (
	"context"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

// aggregatorMethods are those about aggregators; none where there are none.
func (s *Server) aggregatorMethods() []method {
	if s.cfg.Aggregators == nil {
		return nil
	}
	return []method{
		{"social.coves.aggregator.register", http.MethodPost, required, "", s.aggregatorRegister},
		{"social.coves.aggregator.createApiKey", http.MethodPost, required, "", s.aggregatorCreateKey},
		{"social.coves.aggregator.getApiKey", http.MethodGet, required, "", s.aggregatorGetKey},
		{"social.coves.aggregator.revokeApiKey", http.MethodPost, required, "", s.aggregatorRevokeKey},
		{"social.coves.aggregator.getServices", http.MethodGet, optional, "", s.aggregatorServices},
		{"social.coves.aggregator.getAuthorizations", http.MethodGet, optional, "", s.aggregatorAuthorizations},
		{"social.coves.aggregator.listForCommunity", http.MethodGet, optional, "", s.aggregatorsOfCommunity},
	}
}

// key finds out which aggregator calls by its key (A11).
func (s *Server) key(ctx context.Context, token string, m method) (caller, error) {
	if s.cfg.Aggregators == nil || m.takes()&byKey == 0 {
		return caller{}, fault.New(fault.Unauthenticated, "This method takes no keys of aggregators.").WithCode("AuthRequired")
	}
	did, err := s.cfg.Aggregators.Authenticate(ctx, token)
	if err != nil {
		return caller{}, err
	}
	return caller{session.Account{DID: did, Live: true}, byKey}, nil
}

// admit lets whoever asks by a key post only where the community has authorized
// it, and within limits. It returns the community by its DID.
func (s *Server) admit(r *http.Request, who caller, community string) (string, error) {
	if who.proof != byKey {
		return community, nil
	}
	found, err := s.cfg.Names.Find(r.Context(), community)
	if err != nil {
		return "", err
	}
	return found.DID.String(), s.cfg.Aggregators.MayPost(r.Context(), who.account.DID, found.DID, r.Header.Get(IdempotencyHeader))
}

type aggregatorRegisterInput struct {
	DID    string `json:"did"`
	Domain string `json:"domain"`
}

type aggregatorRegisterView struct {
	DID     syntax.DID    `json:"did"`
	Handle  syntax.Handle `json:"handle"`
	Message string        `json:"message"`
}

// aggregatorRegister answers social.coves.aggregator.register: whoever asks is
// registered, once their domain answers with their DID. The did in the input must
// be theirs; it names nobody.
func (s *Server) aggregatorRegister(w http.ResponseWriter, r *http.Request, who caller) error {
	var in aggregatorRegisterInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if did, err := syntax.ParseDID(in.DID); err != nil {
		return invalid(err, "The field did must be the DID of the account that asks.")
	} else if did != actor.DID {
		return fault.New(fault.Forbidden, "An account can only register itself.").WithCode("NotAuthorized")
	}
	out, err := s.cfg.Aggregators.Register(r.Context(), actor.DID, in.Domain)
	if err != nil {
		return err
	}
	return write(w, aggregatorRegisterView{out.DID, shown(out.Handle),
		"Registered with the domain " + out.Domain + ". Next, make a key with social.coves.aggregator.createApiKey."})
}

// aggregatorKeyView is a key that was just made; it is not shown again.
type aggregatorKeyView struct {
	Key       string     `json:"key"`
	KeyPrefix string     `json:"keyPrefix"`
	DID       syntax.DID `json:"did"`
	CreatedAt string     `json:"createdAt"`
}

// aggregatorCreateKey answers social.coves.aggregator.createApiKey.
func (s *Server) aggregatorCreateKey(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := s.cfg.Writes.Spend(who.account.DID.String()); err != nil {
		return err
	}
	key, err := s.cfg.Aggregators.CreateKey(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	return write(w, aggregatorKeyView{key.Text.Reveal(), key.Prefix, who.account.DID, datetime(key.CreatedAt)})
}

// aggregatorKeyInfoView is what is known of a key.
type aggregatorKeyInfoView struct {
	HasKey     bool   `json:"hasKey"`
	KeyPrefix  string `json:"keyPrefix,omitempty"`
	CreatedAt  string `json:"createdAt,omitempty"`
	LastUsedAt string `json:"lastUsedAt,omitempty"`
	IsRevoked  bool   `json:"isRevoked"`
	RevokedAt  string `json:"revokedAt,omitempty"`
}

// aggregatorGetKey answers social.coves.aggregator.getApiKey.
func (s *Server) aggregatorGetKey(w http.ResponseWriter, r *http.Request, who caller) error {
	info, ok, err := s.cfg.Aggregators.Key(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	if !ok {
		return write(w, aggregatorKeyInfoView{})
	}
	v := aggregatorKeyInfoView{HasKey: info.RevokedAt.IsZero(), KeyPrefix: info.Prefix, CreatedAt: datetime(info.CreatedAt),
		IsRevoked: !info.RevokedAt.IsZero()}
	if !info.UsedAt.IsZero() {
		v.LastUsedAt = datetime(info.UsedAt)
	}
	if v.IsRevoked {
		v.RevokedAt = datetime(info.RevokedAt)
	}
	return write(w, v)
}

// aggregatorRevokeKey answers social.coves.aggregator.revokeApiKey.
func (s *Server) aggregatorRevokeKey(w http.ResponseWriter, r *http.Request, who caller) error {
	at, err := s.cfg.Aggregators.RevokeKey(r.Context(), who.account.DID)
	if err != nil {
		return err
	}
	return write(w, struct {
		RevokedAt string `json:"revokedAt"`
	}{datetime(at)})
}
