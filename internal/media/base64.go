package media

import (
	"encoding/base64"
	"strings"
)

// CheckBase64 is Check for a file that comes as text in a JSON field: standard
// base64, with or without padding. declared is the type that the sender gives
// it, "" for none: it must be one that the use takes, but what counts is the
// content. Text for more than twice what the use allows is not decoded.
func CheckBase64(use Use, text, declared string) (Image, error) {
	if declared != "" && !use.Takes(declared) {
		return Image{}, invalid(nil, "A picture here must be PNG, JPEG or WebP.")
	}
	if len(text) > base64.StdEncoding.EncodedLen(2*use.MaxBytes()) {
		return Image{}, TooLarge(use)
	}
	file, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return Image{}, invalid(err, "The picture is not in base64.")
	}
	return Check(use, file)
}
