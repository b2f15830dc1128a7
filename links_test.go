package atoll_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	namedPage    = regexp.MustCompile("`([A-Za-z0-9_/.-]+\\.md)`")
)

// TestDocumentsLeadSomewhere: every relative link, and every page that the
// documents name, exists.
func TestDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "data") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, target := range targets(string(text)) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), target)); err != nil {
				t.Errorf("%s leads to %s, which does not exist", name, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func targets(text string) (all []string) {
	for _, pattern := range []*regexp.Regexp{markdownLink, namedPage} {
		for _, found := range pattern.FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
	}
	return all
}
