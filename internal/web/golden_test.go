package web

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
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

func TestPagesLookAsTheyShould(t *testing.T) {
	t.Parallel()
	pages := testRenderer(t)
	for _, s := range samplePages() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if err := pages.write(w, 200, s.template, s.page); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", s.name+".golden.html")
			if *update {
				if err := os.WriteFile(file, w.Body.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
				t.Errorf("page %s changed (go test -update writes it anew; -want +got):\n%s", s.name, diff)
			}
		})
	}
}
