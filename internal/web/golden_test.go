package web

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testRenderer(t *testing.T) renderer {
	t.Helper()
	files, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := newRenderer(files)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func render(t *testing.T, pages renderer, template string, p page) string {
	t.Helper()
	w := httptest.NewRecorder()
	if err := pages.write(w, 200, template, p); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

func TestPagesLookAsTheyShould(t *testing.T) {
	t.Parallel()
	pages := testRenderer(t)
	for _, s := range samplePages() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			got := render(t, pages, s.template, s.page)
			for _, wrong := range audit(got) {
				t.Errorf("page %s: %s", s.name, wrong)
			}
			got = withoutVersions(got) // they change with each file's content
			file := filepath.Join("testdata", s.name+".golden.html")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page %s changed (go test -update writes it anew; -want +got):\n%s", s.name, diff)
			}
		})
	}
}

// withoutVersions shortens the addresses of static files.
func withoutVersions(page string) string {
	parts := strings.Split(page, "?v=")
	for i := 1; i < len(parts); i++ {
		parts[i] = parts[i][strings.IndexByte(parts[i], '"'):]
	}
	return strings.Join(parts, "?v=")
}
