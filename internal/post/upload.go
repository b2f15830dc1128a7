package post

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/atdata"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/media"
)

// Uploaded is a picture at its author's server, for a record to refer to.
type Uploaded struct {
	Blob          atdata.Blob
	Width, Height int // as it is shown
}

// UploadImage checks and strips a picture for an embed (media.Embed) and
// stores it at the actor's own server, which keeps it for a while until a record
// refers to it. Errors: those of media.Check and agent.Upload.
func (s *Service) UploadImage(ctx context.Context, actor agent.Actor, file []byte) (Uploaded, error) {
	picture, err := s.studio.Look(ctx, func() (media.Image, error) { return media.Check(media.Embed, file) })
	if err != nil {
		return Uploaded{}, err
	}
	blob, err := s.store(ctx, actor, picture)
	return Uploaded{Blob: blob, Width: picture.Width, Height: picture.Height}, err
}

// store has the actor's server keep a picture.
func (s *Service) store(ctx context.Context, actor agent.Actor, picture media.Image) (atdata.Blob, error) {
	return s.cfg.Agent.Upload(ctx, actor, agent.Upload{MIME: picture.MIME, Body: picture.Body})
}
