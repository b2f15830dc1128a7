package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The kinds of permission, by the prefix of their scopes.
const (
	kindRepo     = "repo"
	kindRPC      = "rpc"
	kindBlob     = "blob"
	kindAccount  = "account"
	kindIdentity = "identity"
	kindInclude  = "include"
	kindText     = "" // known by its text only
)

// atom is the smallest thing a permission can allow: what (a collection, a
// method, a media type, an attribute) and how (an action, an audience).
type atom struct{ kind, what, how string }

// permission is a parsed scope of one of the kinds.
type permission interface {
	// allows reports whether the permission covers a.
	allows(a atom) bool
	// without returns exactly what remains when everything that allowed covers
	// is taken away, in as few permissions as say it; none when nothing remains.
	without(allowed func(atom) bool) []permission
	// String returns the canonical spelling.
	String() string
}

// fields is a scope split into its parts, percent-decoding done.
type fields struct {
	params url.Values
	used   map[string]bool
}

// splitScope parses kind:positional?key=value. The positional value becomes
// the parameter that primary names; giving it both ways is an error.
func splitScope(raw, primary string) (*fields, error) {
	head, query, _ := strings.Cut(raw[kindLength(raw):], "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	if encoded, ok := strings.CutPrefix(head, ":"); ok {
		positional, err := url.PathUnescape(encoded)
		if err != nil {
			return nil, err
		}
		if params.Has(primary) {
			return nil, fmt.Errorf("%s is given twice", primary)
		}
		params.Set(primary, positional)
	}
	return &fields{params: params, used: map[string]bool{}}, nil
}

// kindLength returns the length of the part before the first ':' or '?'.
func kindLength(raw string) int {
	if i := strings.IndexAny(raw, ":?"); i >= 0 {
		return i
	}
	return len(raw)
}

// many returns the values of a parameter, each checked, without repetitions.
func (f *fields) many(key string, check func(string) error) ([]string, error) {
	f.used[key] = true
	var out []string
	for _, v := range f.params[key] {
		if err := check(v); err != nil {
			return nil, fmt.Errorf("%s %q: %w", key, truncate(v, 60), err)
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, nil
}

// one returns the single value of a parameter, "" when it is absent.
func (f *fields) one(key string, check func(string) error) (string, error) {
	values, err := f.many(key, check)
	if err != nil {
		return "", err
	}
	if len(f.params[key]) > 1 {
		return "", fmt.Errorf("%s is given twice", key)
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}

// end reports parameters that the kind does not know.
func (f *fields) end() error {
	for key := range f.params {
		if !f.used[key] {
			return fmt.Errorf("unknown parameter %q", truncate(key, 60))
		}
	}
	return nil
}

// parsePermission parses one scope. Kinds that it does not know are compared by
// their text.
func parsePermission(raw string) (permission, error) {
	for _, c := range []byte(raw) {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return nil, errors.New("character not allowed (RFC 6749, 3.3)")
		}
	}
	switch raw[:kindLength(raw)] {
	case kindRepo:
		return parseRepo(raw)
	case kindRPC:
		return parseRPC(raw)
	case kindBlob:
		return parseBlob(raw)
	case kindAccount:
		return parseAccount(raw)
	case kindIdentity:
		return parseIdentity(raw)
	case kindInclude:
		return parseInclude(raw)
	}
	return textPerm(raw), nil
}

// textPerm is a scope that is compared by its text: atproto, the transitional
// ones, and whatever is not known here.
type textPerm string

// allows knows what official servers let the three broad scopes from before
// permissions do.
func (p textPerm) allows(a atom) bool {
	chat := a.kind == kindRPC && strings.HasPrefix(a.what, "chat.bsky.")
	switch {
	case a.kind == kindText:
		return a.what == string(p)
	case p == "transition:generic":
		return a.kind == kindRepo || a.kind == kindBlob || (a.kind == kindRPC && !chat)
	case p == "transition:chat.bsky":
		return chat
	case p == "transition:email":
		return a == atom{kindAccount, "email", "read"}
	}
	return false
}

func (p textPerm) without(allowed func(atom) bool) []permission {
	if allowed(atom{kind: kindText, what: string(p)}) {
		return nil
	}
	return []permission{p}
}

func (p textPerm) String() string { return string(p) }

func checkNSID(v string) error {
	_, err := syntax.ParseNSID(v)
	return err
}

// nsidOrAny allows the wildcard, alone: partial wildcards do not exist.
func nsidOrAny(v string) error {
	if v == "*" {
		return nil
	}
	return checkNSID(v)
}

// audience checks a service reference: a DID with a fragment.
func audience(v string) error {
	did, fragment, ok := strings.Cut(v, "#")
	if !ok || fragment == "" || strings.ContainsAny(fragment, "# ") {
		return errors.New("want a DID with a service, such as did:web:example.com#service")
	}
	_, err := syntax.ParseDID(did)
	return err
}

func audienceOrAny(v string) error {
	if v == "*" {
		return nil
	}
	return audience(v)
}

// oneOf makes a check for a closed list.
func oneOf(known ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(known, v) {
			return fmt.Errorf("want one of %s", strings.Join(known, ", "))
		}
		return nil
	}
}

// spell writes a scope canonically: a single primary value stands after the
// colon, everything else after the question mark.
func spell(kind, primary string, values []string, more ...[2]string) string {
	var b strings.Builder
	b.WriteString(kind)
	var params []string
	if len(values) == 1 {
		b.WriteString(":" + escape(values[0], true))
	} else {
		for _, v := range values {
			params = append(params, primary+"="+escape(v, false))
		}
	}
	for _, p := range more {
		params = append(params, p[0]+"="+escape(p[1], false))
	}
	if len(params) > 0 {
		b.WriteString("?" + strings.Join(params, "&"))
	}
	return b.String()
}

// escape percent-encodes what cannot stand for itself in a scope. A plus sign
// means a space in parameters, and itself after the colon.
func escape(v string, positional bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(v) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alnum || strings.IndexByte("-._~:/,@*", c) >= 0 || (c == '+' && positional) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
