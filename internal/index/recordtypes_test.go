package index

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/lexicons"
)

// TestRecordTypesAreThoseOfTheLexicons holds that what is asked of the network
// and applied is what there are lexicons of: a record type is in both or in none.
func TestRecordTypesAreThoseOfTheLexicons(t *testing.T) {
	t.Parallel()
	var described []syntax.NSID
	err := fs.WalkDir(lexicons.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json") {
			return err
		}
		text, err := fs.ReadFile(lexicons.Files, name)
		if err != nil {
			return err
		}
		var file struct {
			ID   syntax.NSID `json:"id"`
			Defs struct {
				Main struct {
					Type string `json:"type"`
				} `json:"main"`
			} `json:"defs"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			return err
		}
		if file.Defs.Main.Type == "record" {
			described = append(described, file.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	applied := RecordTypes()
	slices.Sort(described)
	slices.Sort(applied)
	if diff := cmp.Diff(described, applied); diff != "" {
		t.Errorf("record types (-lexicons +index):\n%s", diff)
	}
	for _, collection := range applied {
		if !Indexes(collection) {
			t.Errorf("%s is listed and not applied", collection)
		}
	}
	if Indexes(LegacyPostCollection) {
		t.Errorf("%s is applied; it is only referred to", LegacyPostCollection)
	}
}
