package xrpc

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// Limits of lists about aggregators.
const (
	servicesMost          = 25
	authorizationsDefault = 50
	authorizationsMost    = 100
)

// aggregatorDefs is the lexicon of what is shown of aggregators.
const aggregatorDefs = "social.coves.aggregator.defs"

// aggregatorView is social.coves.aggregator.defs#aggregatorView, and with stats
// #aggregatorViewDetailed.
type aggregatorView struct {
	Type         string           `json:"$type,omitempty"` // where it stands among others
	DID          syntax.DID       `json:"did"`
	Handle       syntax.Handle    `json:"handle"`
	DisplayName  string           `json:"displayName"`
	Description  string           `json:"description,omitempty"`
	Avatar       string           `json:"avatar,omitempty"`
	ConfigSchema json.RawMessage  `json:"configSchema,omitempty"`
	SourceURL    string           `json:"sourceUrl,omitempty"`
	Maintainer   string           `json:"maintainer,omitempty"`
	CreatedAt    string           `json:"createdAt"`
	URI          syntax.ATURI     `json:"recordUri"`
	Stats        *aggregatorStats `json:"stats,omitempty"`
}

type aggregatorStats struct {
	Communities int64 `json:"communitiesUsing"`
	Posts       int64 `json:"postsCreated"`
}

// serviceRecord is what is shown of social.coves.aggregator.service.
type serviceRecord struct {
	DisplayName  string          `json:"displayName"`
	Description  string          `json:"description"`
	Avatar       json.RawMessage `json:"avatar"`
	ConfigSchema json.RawMessage `json:"configSchema"`
	SourceURL    string          `json:"sourceUrl"`
	Maintainer   string          `json:"maintainer"`
	CreatedAt    string          `json:"createdAt"`
}

func (s *Server) aggregatorView(service index.Service) (aggregatorView, error) {
	var r serviceRecord
	if err := json.Unmarshal(service.Record, &r); err != nil {
		return aggregatorView{}, err
	}
	v := aggregatorView{DID: service.DID, Handle: shown(service.Handle), DisplayName: r.DisplayName, Description: r.Description,
		ConfigSchema: r.ConfigSchema, SourceURL: r.SourceURL, Maintainer: r.Maintainer, CreatedAt: r.CreatedAt,
		URI: syntax.ATURI("at://" + service.DID.String() + "/" + index.ServiceCollection.String() + "/self")}
	var avatar atdata.Blob
	if r.Avatar != nil && json.Unmarshal(r.Avatar, &avatar) == nil {
		v.Avatar = s.image("avatar", service.DID, syntax.CID(avatar.Ref.String()))
	}
	return v, nil
}

// aggregatorServices answers social.coves.aggregator.getServices: what services
// say about themselves, in the order in which they are named. Those that say
// nothing are left out.
func (s *Server) aggregatorServices(w http.ResponseWriter, r *http.Request, _ caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	dids := strings.Split(strings.Join(params["dids"], ","), ",") // repeated, or one list
	if !params.Has("dids") || len(dids) > servicesMost {
		return invalid(nil, "Give from 1 to 25 dids.")
	}
	out := struct {
		Views []aggregatorView `json:"views"`
	}{[]aggregatorView{}}
	for _, text := range dids {
		did, err := syntax.ParseDID(strings.TrimSpace(text))
		if err != nil {
			return invalid(err, "Each of dids must be a DID, such as did:plc:….")
		}
		service, ok, err := s.cfg.Index.Service(r.Context(), did)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		view, err := s.aggregatorView(service)
		if err != nil {
			return err
		}
		view.Type = aggregatorDefs + "#aggregatorView"
		if params.Get("detailed") == "true" {
			view.Type += "Detailed"
			stats, err := s.cfg.Index.ServiceStats(r.Context(), did)
			if err != nil {
				return err
			}
			view.Stats = &aggregatorStats{stats.Communities, stats.Posts}
		}
		out.Views = append(out.Views, view)
	}
	return write(w, out)
}

// authorizationView is social.coves.aggregator.defs#authorizationView.
type authorizationView struct {
	Aggregator      *aggregatorView `json:"aggregator,omitempty"`
	AggregatorDID   syntax.DID      `json:"aggregatorDid"`
	CommunityDID    syntax.DID      `json:"communityDid"`
	CommunityHandle syntax.Handle   `json:"communityHandle"`
	Enabled         bool            `json:"enabled"`
	Config          json.RawMessage `json:"config,omitempty"`
	CreatedAt       string          `json:"createdAt"`
	CreatedBy       string          `json:"createdBy,omitempty"`
	DisabledAt      string          `json:"disabledAt,omitempty"`
	DisabledBy      string          `json:"disabledBy,omitempty"`
	URI             syntax.ATURI    `json:"recordUri"`
}

// aggregatorAuthorizations answers social.coves.aggregator.getAuthorizations:
// which communities let a service post.
func (s *Server) aggregatorAuthorizations(w http.ResponseWriter, r *http.Request, _ caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	did, err := syntax.ParseDID(params.Get("aggregatorDid"))
	if err != nil {
		return invalid(err, "aggregatorDid must be the DID of a service.")
	}
	list, cursor, err := s.authorizations(r, index.AuthorizationsOf{Service: did})
	if err != nil {
		return err
	}
	return write(w, struct {
		Authorizations []authorizationView `json:"authorizations"`
		Cursor         string              `json:"cursor,omitempty"`
	}{list, cursor})
}

// aggregatorsOfCommunity answers social.coves.aggregator.listForCommunity: which
// services a community lets post. Older clients name it communityDid.
func (s *Server) aggregatorsOfCommunity(w http.ResponseWriter, r *http.Request, who caller) error {
	params, err := parameters(r)
	if err != nil {
		return err
	}
	name := params.Get("community")
	if name == "" {
		name = params.Get("communityDid")
	}
	did, err := s.cfg.Names.Locate(r.Context(), name, s.lookUps(r, who))
	if err != nil {
		return err
	}
	list, cursor, err := s.authorizations(r, index.AuthorizationsOf{Community: did})
	if err != nil {
		return err
	}
	return write(w, struct {
		Aggregators []authorizationView `json:"aggregators"`
		Cursor      string              `json:"cursor,omitempty"`
	}{list, cursor})
}

// authorizations is a page of them by the parameters of r, which can be read.
func (s *Server) authorizations(r *http.Request, of index.AuthorizationsOf) ([]authorizationView, string, error) {
	params := r.URL.Query()
	limit, err := limitOf(params, authorizationsDefault, authorizationsMost)
	if err != nil {
		return nil, "", err
	}
	of.Enabled = params.Get("enabledOnly") == "true"
	listing := "authorizations " + of.Service.String() + " " + of.Community.String()
	var after int64
	if cursor := params.Get("cursor"); cursor != "" {
		at, err := s.cfg.Cursors.Open(listing, cursor, 1)
		if err != nil {
			return nil, "", err
		}
		after = at[0]
	}
	list, next, err := s.cfg.Index.Authorizations(r.Context(), of, limit, after)
	if err != nil {
		return nil, "", err
	}
	views := make([]authorizationView, 0, len(list))
	for _, a := range list {
		view, err := s.authorizationView(r, a)
		if err != nil {
			return nil, "", err
		}
		views = append(views, view)
	}
	if next == 0 {
		return views, "", nil
	}
	return views, s.cfg.Cursors.Seal(listing, next), nil
}

func (s *Server) authorizationView(r *http.Request, a index.Authorization) (authorizationView, error) {
	v := authorizationView{AggregatorDID: a.Service.DID, CommunityDID: a.Community.DID, CommunityHandle: shown(a.Community.Handle), Enabled: a.Enabled, URI: a.URI}
	var record struct {
		Config     json.RawMessage `json:"config"`
		CreatedAt  string          `json:"createdAt"`
		CreatedBy  string          `json:"createdBy"`
		DisabledAt string          `json:"disabledAt"`
		DisabledBy string          `json:"disabledBy"`
	}
	if err := json.Unmarshal(a.Record, &record); err != nil {
		return v, err
	}
	v.Config, v.CreatedAt, v.CreatedBy, v.DisabledAt, v.DisabledBy = record.Config, record.CreatedAt, record.CreatedBy, record.DisabledAt, record.DisabledBy
	service, ok, err := s.cfg.Index.Service(r.Context(), a.Service.DID)
	if err != nil || !ok {
		return v, err
	}
	view, err := s.aggregatorView(service)
	v.Aggregator = &view
	return v, err
}
