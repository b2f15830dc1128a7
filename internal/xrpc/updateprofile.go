package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/post"
)

type updateProfileInput struct {
	DisplayName    post.Change[string] `json:"displayName"`
	Bio            post.Change[string] `json:"bio"`
	AvatarBlob     post.Change[string] `json:"avatarBlob"` // base64
	AvatarMIMEType string              `json:"avatarMimeType"`
	BannerBlob     post.Change[string] `json:"bannerBlob"`
	BannerMIMEType string              `json:"bannerMimeType"`
}

// updateProfile answers social.coves.actor.updateProfile: changes what was sent
// of the profile of whoever asks.
func (s *Server) updateProfile(w http.ResponseWriter, r *http.Request, who caller) error {
	var in updateProfileInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	done, err := s.cfg.Posts.UpdateProfile(r.Context(), actor, post.ProfileInput{
		DisplayName: in.DisplayName, Bio: in.Bio,
		Avatar: post.Picture{Base64: in.AvatarBlob, MIME: in.AvatarMIMEType},
		Banner: post.Picture{Base64: in.BannerBlob, MIME: in.BannerMIMEType},
	})
	if err != nil {
		return err
	}
	return write(w, recordView(done))
}
