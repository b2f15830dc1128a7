package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/community"
)

type communityUpdateInput struct {
	Community    string `json:"community"`
	CommunityDID string `json:"communityDid"` // what older clients call it
	Name         string `json:"name"`
	profileInput
}

// communityUpdate answers social.coves.community.update: changes what was sent
// of a community.
func (s *Server) communityUpdate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in communityUpdateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	profile, err := in.profile()
	if err != nil {
		return err
	}
	switch {
	case in.Community == "":
		in.Community = in.CommunityDID
	case in.CommunityDID != "" && in.CommunityDID != in.Community:
		return invalid(nil, "The fields community and communityDid name different communities. Send one of them.")
	}
	done, err := s.cfg.Communities.Update(r.Context(), actor, community.UpdateInput{
		Community: in.Community, Name: in.Name, Profile: profile})
	if err != nil {
		return err
	}
	return write(w, writtenCommunity(done))
}
