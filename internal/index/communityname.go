package index

import (
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// DisplayHandle is what people call a community, !name@host: the host that it
// says it has, once that has been verified, else what follows the name in its
// handle. One whose handle is not known is !name.
func DisplayHandle(a Account, name string, host syntax.DID, verified *bool) string {
	if domain, ok := strings.CutPrefix(host.String(), "did:web:"); ok && verified != nil && *verified {
		if plain, err := url.PathUnescape(domain); err == nil {
			domain = plain
		}
		return "!" + name + "@" + domain
	}
	first, rest, ok := strings.Cut(a.Handle.String(), ".")
	if !ok || a.Handle.IsInvalidHandle() {
		return "!" + name
	}
	return "!" + first + "@" + rest
}
