package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// origin says where a value came from, for `atoll config` and for mistakes.
type origin string

const fromDefault origin = "default"

// Input is where settings come from, besides the defaults.
type Input struct {
	File  string            // path of the TOML file; empty tries DefaultFile and does without
	Env   []string          // like os.Environ()
	Flags map[string]string // key → text
}

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "atoll.toml"

// Problem is one mistake in the settings.
type Problem struct {
	Setting string // key, variable or file
	Text    string
}

// Error is every mistake found, in order.
type Error struct{ Problems []Problem }

// Error lists the mistakes, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("the settings have mistakes:")
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s: %s", p.Setting, p.Text)
	}
	return b.String()
}

// loader gathers values and mistakes.
type loader struct {
	config   *Config
	byKey    map[string]setting
	problems []Problem
	warnings []string
}

// Load reads and checks the settings. Its error is an *Error that holds every
// mistake. warnings are sentences for the log.
func Load(in Input) (c *Config, warnings []string, err error) {
	l := &loader{config: Default(), byKey: map[string]setting{}}
	for _, s := range settings() {
		l.byKey[s.key] = s
		l.config.origins[s.key] = fromDefault
	}
	l.file(in.File)
	l.environment(in.Env)
	for _, key := range slices.Sorted(maps.Keys(in.Flags)) {
		name := "--" + strings.ReplaceAll(key, "_", "-")
		if l.byKey[key].secret {
			l.problem(name, "is a secret: other users see the command line; give it in a file or the environment")
			continue
		}
		l.apply(key, in.Flags[key], "flag", name)
	}
	l.problems = append(l.problems, check(l.config)...)
	if len(l.problems) > 0 {
		return nil, l.warnings, &Error{Problems: l.problems}
	}
	return l.config, l.warnings, nil
}

func (l *loader) problem(name, format string, args ...any) {
	l.problems = append(l.problems, Problem{Setting: name, Text: fmt.Sprintf(format, args...)})
}

// apply sets one key; name is how the person wrote it.
func (l *loader) apply(key, text string, from origin, name string) {
	s, ok := l.byKey[key]
	if !ok {
		l.problem(name, "there is no such setting%s", l.suggestion(key))
		return
	}
	if strings.ContainsRune(text, 0) {
		l.problem(name, "holds a zero byte")
		return
	}
	if err := s.set(l.config, text); err != nil {
		l.problem(name, "%v", err)
		return
	}
	l.config.origins[key] = from
}

// suggestion names a key that differs by little, or nothing.
func (l *loader) suggestion(key string) string {
	best, distance := "", 4
	for _, candidate := range slices.Sorted(maps.Keys(l.byKey)) {
		if d := editDistance(key, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return "; docs/config.md lists them"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

func (l *loader) file(path string) {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.problem(path, "cannot be read: %v", err)
		return
	}
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		l.problem(path, "%s", tomlMistake(err))
		return
	}
	l.table(path, "", tree)
}

// tomlMistake says where the file stops making sense without quoting it: the
// line may hold a secret.
func tomlMistake(err error) string {
	var d *toml.DecodeError
	if errors.As(err, &d) {
		row, column := d.Position()
		return fmt.Sprintf("line %d, column %d: %s", row, column, strings.TrimPrefix(d.Error(), "toml: "))
	}
	return err.Error()
}

func (l *loader) table(path, prefix string, tree map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key := prefix + name
		where := path + ": " + key
		if sub, ok := tree[name].(map[string]any); ok && key != "dev_handles" {
			l.table(path, key+".", sub)
			continue
		}
		if text, ok := l.fileSecret(key, tree[name]); ok {
			l.secretFile(strings.TrimSuffix(key, "_file"), text, origin(path), where)
			continue
		}
		text, err := flatten(tree[name])
		if err != nil {
			l.problem(where, "%v", err)
			continue
		}
		l.apply(key, text, origin(path), where)
	}
}

// fileSecret reports whether key names the file of a secret.
func (l *loader) fileSecret(key string, value any) (string, bool) {
	base, ok := strings.CutSuffix(key, "_file")
	text, isText := value.(string)
	return text, ok && isText && l.byKey[base].secret
}

// flatten writes a TOML value as the text that the environment would hold.
func flatten(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case []any:
		return flattenList(v)
	case map[string]any:
		return flattenPairs(v, "=")
	}
	return "", fmt.Errorf("has a kind of value that no setting takes (%T)", value)
}

func flattenList(list []any) (string, error) {
	var parts []string
	for _, item := range list {
		table, ok := item.(map[string]any)
		if ok {
			text, err := flattenSource(table)
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
			continue
		}
		text, ok := item.(string)
		if !ok || strings.Contains(text, ",") {
			return "", errors.New("must be a list of texts without commas")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ","), nil
}

// flattenSource writes one [[source]] table as kind=url.
func flattenSource(table map[string]any) (string, error) {
	for name := range table {
		if name != "kind" && name != "url" {
			return "", fmt.Errorf("has an unknown key %q; a source has kind and url", name)
		}
	}
	kind, okKind := table["kind"].(string)
	url, okURL := table["url"].(string)
	if !okKind || !okURL {
		return "", errors.New("each source needs a kind and a url")
	}
	return kind + "=" + url, nil
}

func flattenPairs(table map[string]any, sep string) (string, error) {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(table)) {
		text, ok := table[name].(string)
		if !ok {
			return "", fmt.Errorf("%q must be a text", name)
		}
		parts = append(parts, name+sep+text)
	}
	return strings.Join(parts, ","), nil
}

func (l *loader) environment(env []string) {
	byVariable := map[string]setting{}
	for _, s := range l.byKey {
		byVariable[s.env()] = s
	}
	for _, pair := range slices.Sorted(slices.Values(env)) {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "ATOLL_") {
			continue
		}
		if s, ok := byVariable[name]; ok {
			l.apply(s.key, text, origin(name), name)
			continue
		}
		if s, ok := byVariable[strings.TrimSuffix(name, "_FILE")]; ok && s.secret {
			l.secretFile(s.key, text, origin(name), name)
			continue
		}
		if orchestrator(name) {
			l.warnings = append(l.warnings, name+" looks like a container orchestrator's variable and is ignored")
			continue
		}
		l.problem(name, "there is no such setting%s", l.suggestion(strings.ToLower(strings.TrimPrefix(name, "ATOLL_"))))
	}
}

// orchestrator recognises the variables that Kubernetes and Docker set for a
// service that happens to be called atoll.
func orchestrator(name string) bool {
	return name == "ATOLL_PORT" || strings.HasPrefix(name, "ATOLL_PORT_") ||
		strings.HasPrefix(name, "ATOLL_SERVICE_HOST") || strings.HasPrefix(name, "ATOLL_SERVICE_PORT")
}

// secretFile reads a secret from the file at path.
func (l *loader) secretFile(key, path string, from origin, name string) {
	text, err := os.ReadFile(path)
	if err != nil {
		l.problem(name, "cannot be read: %v", err)
		return
	}
	if previous := l.config.origins[key]; strings.HasPrefix(string(from), "ATOLL_") && strings.HasPrefix(string(previous), "ATOLL_") {
		l.problem(name, "contradicts %s; give one of them", previous)
		return
	}
	l.apply(key, string(text), from, name)
}

// editDistance counts the insertions, deletions and substitutions between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
