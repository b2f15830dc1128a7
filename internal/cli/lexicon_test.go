package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/cli"
)

// TestLexiconCheck holds that every file gets a line, and that the exit code
// tells whether all are in order.
func TestLexiconCheck(t *testing.T) {
	t.Parallel()
	const good = `{"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "token"}}}`
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fine, bad := file("fine.json", good), file("bad.json", strings.Replace(good, "token", "thing", 1))
	version, empty := file("version.json", strings.Replace(good, "1", "2", 1)), file("empty.json", "")
	huge := file("huge.json", strings.Repeat(" ", 1<<20)+good)
	ours := filepath.Join("..", "..", "lexicons", "social", "coves", "feed", "vote.json")
	tests := []struct {
		name  string
		args  []string
		stdin string
		code  int
		says  []string // a line each, or its beginning
	}{
		{"fine", []string{fine, ours}, "", 0, []string{fine + ": ok", ours + ": ok"}},
		{"standard input", []string{"-"}, good, 0, []string{"-: ok"}},
		{"several wrong", []string{bad, fine, version, empty, huge}, "", 1,
			[]string{bad + ": read lexicon", fine + ": ok", version + ": lexicon", empty + ": read lexicon", huge + ": larger", "atoll: 4 of 5"}},
		{"not there", []string{filepath.Join(dir, "none.json")}, "", 1, []string{filepath.Join(dir, "none.json") + ": open", "atoll: 1 of 1"}},
		{"a folder", []string{dir}, "", 1, []string{dir + ": read", "atoll: 1 of 1"}},
		{"nothing named", nil, "", 2, []string{"atoll: expected", "Run"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			code := cli.Main(append([]string{"lexicon", "check"}, tt.args...),
				cli.Process{Stdin: strings.NewReader(tt.stdin), Stdout: &out, Stderr: &out, Version: "test"})
			var got []string
			for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
				if i < len(tt.says) && strings.HasPrefix(line, tt.says[i]) {
					line = tt.says[i]
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.says, got); diff != "" || code != tt.code {
				t.Errorf("code %d, want %d; output (-want +got):\n%s", code, tt.code, diff)
			}
		})
	}
}
