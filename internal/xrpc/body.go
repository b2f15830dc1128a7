package xrpc

import (
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/media"
)

const uploadImageMethod syntax.NSID = "social.coves.media.uploadImage"

// Bounds of the input of procedures, in bytes.
const (
	// maxBody holds a record at its limits, with every character escaped, and
	// room for the rest.
	maxBody = 1 << 20
	// maxPictures holds an avatar and a banner in base64, twice as large as they
	// may be when they are stripped.
	maxPictures = 8 << 20
	// strippedRoom is what a picture may have besides what is kept of it.
	strippedRoom = 2 << 20
)

// BodyLimit is how large the body of a request to a path below Prefix may be,
// in bytes.
func BodyLimit(r *http.Request) int64 {
	switch syntax.NSID(strings.TrimPrefix(r.URL.Path, Prefix)) {
	case uploadImageMethod:
		return int64(media.Embed.MaxBytes()) + strippedRoom
	case "social.coves.actor.updateProfile", "social.coves.community.create", "social.coves.community.update":
		return maxPictures
	}
	return maxBody
}
