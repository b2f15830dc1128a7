// Package lexicons holds the contracts of this network as lexicon files, and
// the one catalog that records are validated against on the way in and out.
package lexicons

import (
	"embed"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/lexicon"
)

// Files holds every lexicon, each at the path of its NSID.
//
//go:embed com social
var Files embed.FS

// NewCatalog parses all files. An error means that a file is not a valid
// lexicon, which a test of this package rules out for a released program.
func NewCatalog() (*lexicon.BaseCatalog, error) {
	c := lexicon.NewBaseCatalog()
	if err := c.LoadEmbedFS(Files); err != nil {
		return nil, fmt.Errorf("load lexicons: %w", err)
	}
	return c, nil
}
