package xrpc

import (
	"encoding/json"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/record"
)

// profileInput is what create and update have alike.
type profileInput struct {
	DisplayName       record.Change[string]          `json:"displayName"`
	Description       record.Change[string]          `json:"description"`
	DescriptionFacets record.Change[json.RawMessage] `json:"descriptionFacets"`
	Visibility        record.Change[string]          `json:"visibility"`
	ModerationType    record.Change[string]          `json:"moderationType"`
	ContentWarnings   record.Change[[]string]        `json:"contentWarnings"`
	AvatarBlob        record.Change[string]          `json:"avatarBlob"` // base64
	AvatarMIMEType    string                         `json:"avatarMimeType"`
	BannerBlob        record.Change[string]          `json:"bannerBlob"`
	BannerMIMEType    string                         `json:"bannerMimeType"`

	// What this server says, and nobody else.
	HostedBy  json.RawMessage `json:"hostedBy"`
	CreatedBy json.RawMessage `json:"createdBy"`
}

// profile refuses what no client may say (H7).
func (in profileInput) profile() (community.Profile, error) {
	for name, sent := range map[string]json.RawMessage{"hostedBy": in.HostedBy, "createdBy": in.CreatedBy} {
		if sent != nil {
			return community.Profile{}, invalid(nil, "The field "+name+" is set by this server; leave it out.")
		}
	}
	return community.Profile{
		DisplayName: in.DisplayName, Description: in.Description, DescriptionFacets: in.DescriptionFacets,
		Visibility: in.Visibility, ModerationType: in.ModerationType, ContentWarnings: in.ContentWarnings,
		Avatar: record.Picture{Base64: in.AvatarBlob, MIME: in.AvatarMIMEType},
		Banner: record.Picture{Base64: in.BannerBlob, MIME: in.BannerMIMEType},
	}, nil
}

type communityCreateInput struct {
	Name string `json:"name"`
	profileInput
}

// writtenCommunity is a community as it was written.
type writtenCommunity struct {
	URI    syntax.ATURI  `json:"uri"`
	CID    syntax.CID    `json:"cid"`
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
}

// communityCreate answers social.coves.community.create: makes a community on
// this server, by whoever asks.
func (s *Server) communityCreate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in communityCreateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	profile, err := in.profile()
	if err != nil {
		return err
	}
	made, err := s.cfg.Communities.Create(r.Context(), actor, community.CreateInput{
		Name: in.Name, Profile: profile, Key: r.Header.Get(IdempotencyHeader)})
	if err != nil {
		return err
	}
	return write(w, writtenCommunity(made))
}
