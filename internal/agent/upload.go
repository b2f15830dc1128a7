package agent

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atdata"

	"github.com/atoll-social/atoll/internal/pds"
)

// Upload is a file for records to refer to.
type Upload struct {
	MIME string // such as image/png
	Body []byte
}

// Upload stores a file at the actor's own server, where it is kept for a while
// until a record refers to it. Doing it again changes nothing, so it may be
// repeated after any error. A request that ends early does not end it. What comes
// back has the media type that the server found. Errors: *Error, or one of our own.
func (a *Agent) Upload(ctx context.Context, actor Actor, u Upload) (atdata.Blob, error) {
	var blob atdata.Blob
	need := "blob:" + u.MIME
	_, err := a.attempt(context.WithoutCancel(ctx), actor, need, func(ctx context.Context, server *pds.Client) error {
		var err error
		blob, err = server.UploadBlob(ctx, u.MIME, u.Body)
		return err
	})
	if err != nil {
		return atdata.Blob{}, fmt.Errorf("upload %d bytes of %s for %s: %w", len(u.Body), u.MIME, actor.DID, a.explain(err, need))
	}
	return blob, nil
}
