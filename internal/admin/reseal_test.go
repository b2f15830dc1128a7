package admin_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/admin"
)

var sealedRow = regexp.MustCompile("^\\| `([a-z_]+)` \\|.*\\| `[^|]+` \\|$")

// TestEverySealedColumnIsResealed: a table whose page in docs/data.md says that
// something in it is sealed takes part when the master key changes. The check
// value is the store's own, and the last.
func TestEverySealedColumnIsResealed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(page)) {
		if row := sealedRow.FindStringSubmatch(strings.TrimSpace(line)); row != nil {
			documented = append(documented, row[1])
		}
	}
	resealed := []string{"key_check"}
	for _, p := range admin.Parts(nil, nil, nil, nil, account.Seals{}) {
		resealed = append(resealed, p.Table)
	}
	slices.Sort(documented)
	slices.Sort(resealed)
	if diff := cmp.Diff(documented, resealed); diff != "" {
		t.Errorf("sealed tables: docs/data.md (-), admin.Parts (+):\n%s", diff)
	}
}
