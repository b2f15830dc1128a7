package lexicons_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/lexicons"
)

// TestFiles holds that every file parses, sits at the path of its NSID, and
// refers only to definitions that exist.
func TestFiles(t *testing.T) {
	t.Parallel()
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(lexicons.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		id := strings.ReplaceAll(strings.TrimSuffix(path, ".json"), "/", ".")
		if _, err := syntax.ParseNSID(id); err != nil {
			t.Errorf("%s is not the path of an NSID: %v", path, err)
		}
		raw, err := lexicons.Files.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(raw), `"id": "`+id+`"`) {
			t.Errorf("%s does not declare the id of its path", path)
		}
		for _, ref := range refs(string(raw)) {
			if strings.HasPrefix(ref, "#") {
				ref = id + ref
			}
			if _, err := catalog.Resolve(ref); err != nil {
				t.Errorf("%s refers to %s: %v", path, ref, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// refs lists what a file's "ref" and "refs" fields name.
func refs(raw string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`"ref": "([^"]+)"`).FindAllStringSubmatch(raw, -1) {
		out = append(out, m[1])
	}
	for _, list := range regexp.MustCompile(`"refs": \[([^\]]*)\]`).FindAllStringSubmatch(raw, -1) {
		for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(list[1], -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestPostLimits(t *testing.T) {
	t.Parallel()
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	post := func(field string, value any) map[string]any {
		return map[string]any{
			"$type":     "social.coves.community.postv2",
			"community": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
			"createdAt": "2026-01-02T03:04:05.678Z",
			field:       value,
		}
	}
	family := "👩‍👩‍👧‍👦" // one grapheme, 25 bytes
	tests := []struct {
		name  string
		field string
		value any
		ok    bool
	}{
		{"title at its graphemes", "title", strings.Repeat("é", 300), true},
		{"title over its graphemes", "title", strings.Repeat("é", 301), false},
		{"title over its bytes", "title", strings.Repeat(family, 121), false},
		{"content at its graphemes", "content", strings.Repeat("x", 10000), true},
		{"content over its graphemes", "content", strings.Repeat("x", 10001), false},
		{"nine tags", "tags", []any{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, false},
		{"four languages", "langs", []any{"de", "en", "fr", "it"}, false},
		{"unknown embed", "embed", map[string]any{"$type": "org.example.embed"}, true},
		{"embed without its field", "embed", map[string]any{"$type": "social.coves.embed.post"}, false},
		{"community is a handle", "community", "commons.example.com", false},
		{"createdAt is no time", "createdAt", "yesterday", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := lexicon.ValidateRecord(catalog, post(tt.field, tt.value), "social.coves.community.postv2", 0)
			if (err == nil) != tt.ok {
				t.Errorf("validate %s: got %v, want ok %v", tt.field, err, tt.ok)
			}
		})
	}
}
