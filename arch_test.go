// Package atoll_test holds the architecture: which package stands on which
// layer, who may import whom and why, and who owns each table. A rule that
// stands in the way of a good design is changed here, with its reason.
package atoll_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/atoll-social/atoll"

// layers, lowest first. A package imports packages of lower layers only.
var layers = []struct {
	name     string
	packages []string
}{
	{"base", []string{"fault", "plain", "markup", "telemetry", "keyring", "egress", "httpserver"}},
	{"storage", []string{"store", "job"}},
	{"network", []string{"identity", "pds"}},
	{"machinery", []string{"feed", "servicetoken", "session", "login", "account", "agent", "index", "ingest"}},
	{"domain", []string{"aggregator", "media", "record", "community", "post"}},
	{"surfaces", []string{"xrpc", "web", "rpc"}},
	{"assembly", []string{"config", "doctor", "daemon", "admin", "appclient", "cli"}},
}

// edges are the imports inside one layer, each with its reason.
var edges = map[[2]string]string{
	{"httpserver", "fault"}:     "an error becomes a response by its kind",
	{"httpserver", "telemetry"}: "requests get their ids and records here",
	{"job", "store"}:            "the queue lives in the database, and in the transactions of others",
	{"login", "session"}:        "a proven identity becomes a session of the device",
	{"account", "session"}:      "what becomes of credentials stands in the audit trail",
	{"agent", "session"}:        "a member's writes go through their OAuth session",
	{"feed", "index"}:           "what lists are made of, and what their items say",
	{"ingest", "index"}:         "events are applied by the same function as writes",
	{"record", "media"}:         "pictures in requests are checked before anything is stored",
	{"community", "record"}:     "what communities and members decide is written by one way",
	{"post", "community"}:       "a post names its community in every form that communities have",
	{"post", "record"}:          "posts are written by the same way as everything",
	{"post", "media"}:           "what members upload is checked and stripped first",
	{"community", "media"}:      "a community's pictures are checked and stripped first",
	{"daemon", "config"}:        "the settings say what is assembled",
	{"cli", "config"}:           "arguments and environment become settings",
	{"cli", "daemon"}:           "serve",
	{"cli", "admin"}:            "every other command of the operator",
	{"cli", "appclient"}:        "login, whoami, apps and logout, over the API",
	{"cli", "doctor"}:           "atoll doctor",
	{"daemon", "doctor"}:        "the check of what is published, shortly after start",
}

// banned imports, anywhere but in the folders named, each with its reason.
var banned = []struct{ path, reason string }{
	{"github.com/bluesky-social/indigo/atproto/auth", "a sketch that loses sessions and registers its own ES256 for the process; oauth/ is ours (docs/design.md)"},
	{"github.com/pkg/errors", "fmt.Errorf with %w"},
	{"log", "log/slog, handed in"},
	{"math/rand", "crypto/rand for secrets, math/rand/v2 for jitter"},
}

// testOnly modules must not reach the binary.
var testOnly = []string{
	"testing", "github.com/google/go-cmp", "pgregory.net/rapid", "github.com/chromedp",
	module + "/test", module + "/internal/store/storetest",
}

// tables and the one package that reads and writes each.
var tables = map[string]string{
	"key_check":                "store",
	"write_check":              "store",
	"hosted_account":           "account",
	"job":                      "job",
	"job_period":               "job",
	"device":                   "session",
	"device_account":           "session",
	"oauth_session":            "session",
	"signing_key":              "session",
	"audit":                    "session",
	"app_session":              "session",
	"login_attempt":            "login",
	"app_login":                "login",
	"account":                  "index",
	"post":                     "index",
	"index_clock":              "index",
	"admission":                "index",
	"legacy_post":              "index",
	"comment":                  "index",
	"vote":                     "index",
	"subscription":             "index",
	"person_block":             "index",
	"community_block":          "index",
	"account_tally":            "index",
	"comment_tally":            "index",
	"comment_rank":             "index",
	"comment_change":           "index",
	"post_rank":                "index",
	"rank_change":              "index",
	"shown_change":             "index",
	"actor_profile":            "index",
	"community":                "index",
	"community_rules":          "index",
	"moderator":                "index",
	"ban":                      "index",
	"aggregator_service":       "index",
	"aggregator_authorization": "index",
	"ingest_source":            "ingest",
	"ingest_dead":              "ingest",
	"ingest_repo":              "ingest",
	"ingest_lease":             "ingest",
	"ingest_listing":           "ingest",
	"ingest_drop":              "ingest",
	"agent_write_key":          "agent",
	"app_password":             "agent",
	"service_token":            "servicetoken",
	"aggregator":               "aggregator",
	"aggregator_key":           "aggregator",
	"aggregator_post":          "aggregator",
	"community_key":            "community",
	"vote_turn":                "post",
	"vote_request":             "post",
	"community_policy":         "community",
	"community_approved":       "community",
	"community_review":         "community",
	"community_seen":           "community",
}

// source is one parsed Go file of the project.
type source struct {
	file string // slash-separated, from the root
	dir  string
	test bool
	ast  *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata" || base == "data" || base == "gen") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		dir := path.Dir(slash)
		inTestTree := strings.HasPrefix(dir, "test/") || strings.HasPrefix(dir, "bench") || strings.HasSuffix(dir, "/storetest")
		all = append(all, source{file: slash, dir: dir, test: inTestTree || strings.HasSuffix(base, "_test.go"), ast: f})
		return nil
	})
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	return all
}

func imports(f source) []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// internalPackage returns the first folder below internal/, "" outside of it.
func internalPackage(dir string) string {
	rest, ok := strings.CutPrefix(dir, "internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func layerOf(pkg string) int {
	for i, l := range layers {
		if slices.Contains(l.packages, pkg) {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		from := internalPackage(f.dir)
		if from == "" || f.test {
			continue
		}
		if layerOf(from) < 0 {
			t.Errorf("%s: internal/%s is on no layer; add it to layers in arch_test.go", f.file, from)
			continue
		}
		for _, p := range imports(f) {
			to := internalPackage(strings.TrimPrefix(p, module+"/"))
			if to == "" || to == from || !strings.HasPrefix(p, module+"/") {
				continue
			}
			if _, allowed := edges[[2]string{from, to}]; !allowed && layerOf(to) >= layerOf(from) {
				t.Errorf("%s imports internal/%s, which is not below it; imports point down, and an edge inside a layer needs a reason in arch_test.go", f.file, to)
			}
		}
	}
}

func TestOAuthStandsAlone(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.dir != "oauth" && !strings.HasPrefix(f.dir, "oauth/") || f.test {
			continue
		}
		for _, p := range imports(f) {
			if strings.HasPrefix(p, module+"/internal/") || p == "database/sql" {
				t.Errorf("%s imports %s; oauth/ is importable on its own: no internal packages, no SQL", f.file, p)
			}
		}
	}
}

func TestBannedImports(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		for _, p := range imports(f) {
			for _, b := range banned {
				if p == b.path || strings.HasPrefix(p, b.path+"/") && strings.Contains(b.path, ".") {
					t.Errorf("%s imports %s: %s", f.file, p, b.reason)
				}
			}
			if f.test {
				continue
			}
			for _, only := range testOnly {
				if p == only || strings.HasPrefix(p, only+"/") {
					t.Errorf("%s imports %s, which belongs to tests", f.file, p)
				}
			}
		}
	}
}

// TestPackageComments wants every package to say its one job in one to five
// lines, in one place.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	comments := map[string][]string{}
	for _, f := range sources(t) {
		name := f.ast.Name.Name
		if strings.HasSuffix(f.file, "_test.go") && f.dir != "." && !strings.HasPrefix(f.dir, "test/e2e") && f.dir != "bench" {
			continue
		}
		key := f.dir
		if _, seen := comments[key]; !seen {
			comments[key] = nil
		}
		if f.ast.Doc != nil {
			lines := strings.Split(strings.TrimSpace(f.ast.Doc.Text()), "\n")
			if len(lines) > 5 && !strings.HasPrefix(f.dir, "oauth") {
				t.Errorf("%s: the package comment has %d lines; five say it", f.file, len(lines))
			}
			if !strings.HasPrefix(lines[0], "Package "+name) && !strings.HasPrefix(lines[0], "Command ") {
				t.Errorf("%s: the package comment starts %q, want \"Package %s …\" or \"Command …\"", f.file, lines[0], name)
			}
			comments[key] = append(comments[key], f.file)
		}
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s: %d files carry the package comment (%v), want exactly one", dir, len(files), files)
		}
	}
}

var (
	createTable = regexp.MustCompile(`(?i)create table (?:if not exists )?([a-z_]+)`)
	usesTable   = regexp.MustCompile(`(?i)\b(?:from|join|into|update|table|only)\s+([a-z_]+)\b`)
)

func TestTablesHaveOneOwner(t *testing.T) {
	t.Parallel()
	migrations, err := filepath.Glob("internal/store/migrations/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatalf("no migrations found (%v)", err)
	}
	created := map[string]bool{}
	for _, m := range migrations {
		text, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range createTable.FindAllStringSubmatch(string(text), -1) {
			name := strings.ToLower(match[1])
			created[name] = true
			if tables[name] == "" {
				t.Errorf("%s creates %s, which has no owner; add it to tables in arch_test.go", m, name)
			}
		}
	}
	for name := range tables {
		if !created[name] {
			t.Errorf("tables names %s, which no migration creates", name)
		}
	}
	for _, f := range sources(t) {
		if pkg := internalPackage(f.dir); pkg != "" && !f.test {
			checkTableUse(t, f, pkg)
		}
	}
}

// TestMigrationsHaveNumbersOfTheirOwn wants 0001, 0002 and so on: two that came
// about at once must not meet in one program.
func TestMigrationsHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	migrations, err := filepath.Glob("internal/store/migrations/*.sql") // sorted
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range migrations {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(filepath.Base(m), want) {
			t.Errorf("%s: the number should be %s; renumber the one that is not merged yet", m, want)
			return
		}
	}
}

func checkTableUse(t *testing.T, f source, pkg string) {
	t.Helper()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		for _, match := range usesTable.FindAllStringSubmatch(lit.Value, -1) {
			if owner := tables[match[1]]; owner != "" && owner != pkg {
				t.Errorf("%s writes SQL against %s, which internal/%s owns; ask its package", f.file, match[1], owner)
			}
		}
		return true
	})
}

func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		text, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n > 600 {
			t.Errorf("%s has %d lines; 600 at most, 300 is good: split it by its jobs", f.file, n)
		}
	}
}
