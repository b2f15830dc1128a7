package xrpc

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atdata"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/media"
)

type uploadView struct {
	Blob        atdata.Blob `json:"blob"`
	AspectRatio aspectRatio `json:"aspectRatio"`
}

type aspectRatio struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// uploadImage answers social.coves.media.uploadImage: stores a picture at the
// server of whoever asks, for an embed to refer to.
func (s *Server) uploadImage(w http.ResponseWriter, r *http.Request, who caller) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "image/") && kind != "application/octet-stream" {
		return invalid(err, "The input must be a picture, with a content type such as image/jpeg.")
	}
	if err := s.cfg.Writes.Spend(who.account.DID.String()); err != nil {
		return err
	}
	file, err := io.ReadAll(http.MaxBytesReader(w, r.Body, BodyLimit(r)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return media.TooLarge(media.Embed)
	case errors.Is(err, httpserver.ErrCrowded):
		return err
	case err != nil:
		return invalid(err, "The input ended early.")
	}
	actor := agent.Actor{DID: who.account.DID, SessionID: who.account.SessionID}
	up, err := s.cfg.Posts.UploadImage(r.Context(), actor, file)
	if err != nil {
		return err
	}
	return write(w, uploadView{up.Blob, aspectRatio{up.Width, up.Height}})
}
