package atoll_test

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	promiseRow  = regexp.MustCompile(`^\| ([A-Z]+[0-9]+) \|`)
	promiseTest = regexp.MustCompile("`([a-z0-9_/]+_test\\.go):((?:Test|Fuzz)[A-Za-z0-9_]+)`")
)

// TestPromisesNameTestsThatExist keeps docs/promises.md true: a promise whose
// test was renamed or removed is a promise that nobody keeps.
func TestPromisesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]bool{}
	for _, f := range sources(t) {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				functions[f.file+":"+fn.Name.Name] = true
			}
		}
	}
	for line := range strings.Lines(string(page)) {
		row := promiseRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		tests := promiseTest.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("promise %s names no test", row[1])
		}
		for _, test := range tests {
			if !functions[test[1]+":"+test[2]] {
				t.Errorf("promise %s is said to be kept by %s in %s, which does not exist", row[1], test[2], test[1])
			}
		}
	}
}
