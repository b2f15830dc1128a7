package session_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/session"
)

// TestEveryReasonIsExplained: a member is told why, in a sentence of its own,
// for every reason that the OAuth client or this package can give.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	found := 0
	for _, folder := range []string{".", "../../oauth/client"} {
		for _, why := range reasons(t, folder) {
			found++
			if got := session.Explain(why); got == session.Explain("unheard of") || !strings.HasSuffix(got, ".") {
				t.Errorf("Explain(%q) = %q, want a sentence of its own", why, got)
			}
		}
	}
	if found < 17 {
		t.Errorf("found %d reasons, want all of them", found)
	}
	if got := session.Explain(""); !strings.HasSuffix(got, ".") {
		t.Errorf("Explain of a reason that is not known any more = %q, want a sentence", got)
	}
}

// reasons are the constants of type Reason that the files in folder declare.
func reasons(t *testing.T, folder string) []session.Reason {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s (%v)", folder, err)
	}
	var all []session.Reason
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			kind, ok := spec.Type.(*ast.Ident)
			if !ok || kind.Name != "Reason" {
				return true
			}
			if text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value); err == nil {
				all = append(all, session.Reason(text))
			}
			return true
		})
	}
	return all
}
