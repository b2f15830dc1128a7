package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Atproto is the scope without which a token is not one of the AT Protocol.
const Atproto = "atproto"

// ErrScopeSyntax is wrapped by every error of ParseScopes.
var ErrScopeSyntax = errors.New("scope cannot be parsed")

// Scopes is a set of scopes as parsed values (AT Protocol permission
// specification). The zero value is the empty set. It is immutable and safe
// for concurrent use.
//
// Two spellings of one permission are the same permission: repo:a.b.c contains
// repo?collection=a.b.c&action=create. The transitional scopes contain what
// official servers let them do: transition:generic all of repo, blob and rpc
// except chat.bsky methods, transition:chat.bsky those, transition:email
// reading the address. An include: contains only itself, because what it stands
// for is known to the authorization server alone; see HasIncludes.
type Scopes struct {
	list []scope
}

// scope is one element: the text as it was written and what it means.
type scope struct {
	raw  string
	perm permission
}

// ParseScopes parses a space-separated scope string as a client may ask for
// it. Unknown kinds of scope are kept and compared by their text; a known kind
// (repo, rpc, blob, account, identity, include) that breaks its own grammar,
// and a character that RFC 6749 (3.3) forbids, are errors that wrap
// ErrScopeSyntax and name the scope. Repeated scopes count once.
func ParseScopes(text string) (Scopes, error) {
	return parseScopes(text, true)
}

// GrantedScopes parses the scope string of a token. It never fails: what it
// does not understand is kept, grants nothing but itself, and is not dropped.
func GrantedScopes(text string) Scopes {
	s, _ := parseScopes(text, false)
	return s
}

func parseScopes(text string, strict bool) (Scopes, error) {
	var s Scopes
	for raw := range strings.SplitSeq(text, " ") {
		if raw == "" || s.Has(raw) {
			continue
		}
		perm, err := parsePermission(raw)
		if err != nil && strict {
			return Scopes{}, fmt.Errorf("scope %q: %w: %w", truncate(raw, 100), ErrScopeSyntax, err)
		}
		if err != nil {
			perm = textPerm(raw)
		}
		s.list = append(s.list, scope{raw: raw, perm: perm})
	}
	return s, nil
}

// String returns the scopes in their order, separated by spaces, each spelt as
// it was parsed: servers compare what is asked with what is declared as text.
func (s Scopes) String() string { return strings.Join(s.List(), " ") }

// List returns the scopes in their order, each spelt as it was parsed.
func (s Scopes) List() []string {
	out := make([]string, len(s.list))
	for i, e := range s.list {
		out[i] = e.raw
	}
	return out
}

// IsEmpty reports whether there is no scope at all.
func (s Scopes) IsEmpty() bool { return len(s.list) == 0 }

// Has reports whether the set holds a scope of exactly this spelling.
func (s Scopes) Has(raw string) bool {
	return slices.ContainsFunc(s.list, func(e scope) bool { return e.raw == raw })
}

// HasIncludes reports whether the set holds an include:, in which case it may
// allow more than Contains can see.
func (s Scopes) HasIncludes() bool {
	return slices.ContainsFunc(s.list, func(e scope) bool { _, ok := e.perm.(includePerm); return ok })
}

// Contains reports whether s allows everything that need allows.
func (s Scopes) Contains(need Scopes) bool { return s.Missing(need).IsEmpty() }

// Missing returns the part of need that s does not allow, in canonical
// spelling, fit for asking a server for it. A scope that is allowed in part is
// returned with the rest only: of repo:a.b.c, where s has
// repo:a.b.c?action=create, repo:a.b.c?action=update&action=delete.
func (s Scopes) Missing(need Scopes) Scopes {
	var out Scopes
	for _, e := range need.list {
		for _, rest := range e.perm.without(s.allows) {
			raw := rest.String()
			if raw == e.perm.String() {
				raw = e.raw // nothing of it is allowed: keep the caller's spelling
			}
			if !out.Has(raw) {
				out.list = append(out.list, scope{raw: raw, perm: rest})
			}
		}
	}
	return out
}

// Union returns s followed by those scopes of more that s does not have.
func (s Scopes) Union(more Scopes) Scopes {
	out := Scopes{list: slices.Clone(s.list)}
	for _, e := range more.list {
		if !out.Has(e.raw) {
			out.list = append(out.list, e)
		}
	}
	return out
}

// allows reports whether any scope of s allows a.
func (s Scopes) allows(a atom) bool {
	return slices.ContainsFunc(s.list, func(e scope) bool { return e.perm.allows(a) })
}
