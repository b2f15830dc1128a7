package oauth

import (
	"errors"
	"slices"
	"strings"
)

// repoActions are what a repo: scope allows when it names no action.
var repoActions = []string{"create", "update", "delete"} // never changed

// repoPerm allows actions on the records of collections.
type repoPerm struct{ collections, actions []string }

func parseRepo(raw string) (permission, error) {
	f, err := splitScope(raw, "collection")
	if err != nil {
		return nil, err
	}
	collections, err := f.many("collection", nsidOrAny)
	if err != nil {
		return nil, err
	}
	actions, err := f.many("action", oneOf(repoActions...))
	if err != nil {
		return nil, err
	}
	if len(collections) == 0 {
		return nil, errors.New("collection is missing")
	}
	if len(actions) == 0 {
		actions = repoActions
	}
	return repoPerm{collections, actions}, f.end()
}

func (p repoPerm) allows(a atom) bool {
	return a.kind == kindRepo && slices.Contains(p.actions, a.how) &&
		(slices.Contains(p.collections, "*") || slices.Contains(p.collections, a.what))
}

// without groups the collections by the actions that they still lack.
func (p repoPerm) without(allowed func(atom) bool) []permission {
	var rest []permission
	byActions := map[string]int{}
	for _, c := range p.collections {
		var lack []string
		for _, action := range repoActions {
			if slices.Contains(p.actions, action) && !allowed(atom{kindRepo, c, action}) {
				lack = append(lack, action)
			}
		}
		if len(lack) == 0 {
			continue
		}
		key := strings.Join(lack, " ")
		i, ok := byActions[key]
		if !ok {
			byActions[key] = len(rest)
			rest = append(rest, repoPerm{[]string{c}, lack})
			continue
		}
		same := rest[i].(repoPerm)
		rest[i] = repoPerm{append(same.collections, c), lack}
	}
	return rest
}

func (p repoPerm) String() string {
	var actions [][2]string
	for _, a := range repoActions {
		if slices.Contains(p.actions, a) && len(p.actions) < len(repoActions) {
			actions = append(actions, [2]string{"action", a})
		}
	}
	return spell(kindRepo, "collection", slices.Sorted(slices.Values(p.collections)), actions...)
}

// rpcPerm allows calling methods of a service through the PDS.
type rpcPerm struct {
	methods []string
	aud     string
}

func parseRPC(raw string) (permission, error) {
	f, err := splitScope(raw, "lxm")
	if err != nil {
		return nil, err
	}
	methods, err := f.many("lxm", nsidOrAny)
	if err != nil {
		return nil, err
	}
	aud, err := f.one("aud", audienceOrAny)
	if err != nil {
		return nil, err
	}
	switch {
	case len(methods) == 0:
		return nil, errors.New("lxm is missing")
	case aud == "":
		return nil, errors.New("aud is missing")
	case aud == "*" && slices.Contains(methods, "*"):
		return nil, errors.New("lxm and aud cannot both be *")
	}
	return rpcPerm{methods, aud}, f.end()
}

func (p rpcPerm) allows(a atom) bool {
	return a.kind == kindRPC && (p.aud == "*" || p.aud == a.how) &&
		(slices.Contains(p.methods, "*") || slices.Contains(p.methods, a.what))
}

func (p rpcPerm) without(allowed func(atom) bool) []permission {
	rest := rpcPerm{aud: p.aud}
	for _, m := range p.methods {
		if !allowed(atom{kindRPC, m, p.aud}) {
			rest.methods = append(rest.methods, m)
		}
	}
	if len(rest.methods) == 0 {
		return nil
	}
	return []permission{rest}
}

func (p rpcPerm) String() string {
	return spell(kindRPC, "lxm", slices.Sorted(slices.Values(p.methods)), [2]string{"aud", p.aud})
}

// blobPerm allows uploading files of media types, in lower case.
type blobPerm struct{ accept []string }

func parseBlob(raw string) (permission, error) {
	f, err := splitScope(raw, "accept")
	if err != nil {
		return nil, err
	}
	accept, err := f.many("accept", mediaRange)
	if err != nil {
		return nil, err
	}
	if len(accept) == 0 {
		return nil, errors.New("accept is missing")
	}
	for i := range accept {
		accept[i] = strings.ToLower(accept[i])
	}
	return blobPerm{accept}, f.end()
}

// mediaRange checks type/subtype, type/* or */*.
func mediaRange(v string) error {
	major, minor, ok := strings.Cut(v, "/")
	switch {
	case !ok || major == "" || minor == "" || strings.ContainsAny(minor, "/ ") || strings.Contains(major, " "):
		return errors.New("want a media type, such as image/*")
	case strings.Contains(major, "*") && v != "*/*", strings.Contains(minor, "*") && minor != "*":
		return errors.New("a wildcard stands for a whole part")
	}
	return nil
}

func (p blobPerm) allows(a atom) bool {
	if a.kind != kindBlob {
		return false
	}
	return slices.ContainsFunc(p.accept, func(have string) bool {
		prefix, wild := strings.CutSuffix(have, "*")
		return have == "*/*" || have == a.what || (wild && strings.HasPrefix(a.what, prefix))
	})
}

func (p blobPerm) without(allowed func(atom) bool) []permission {
	var rest blobPerm
	for _, m := range p.accept {
		if !allowed(atom{kind: kindBlob, what: m}) {
			rest.accept = append(rest.accept, m)
		}
	}
	if len(rest.accept) == 0 {
		return nil
	}
	return []permission{rest}
}

func (p blobPerm) String() string {
	return spell(kindBlob, "accept", slices.Sorted(slices.Values(p.accept)))
}

// accountPerm allows reading or managing an attribute of the hosting account.
// To manage is also to read.
type accountPerm struct {
	attr    string
	actions []string
}

func parseAccount(raw string) (permission, error) {
	f, err := splitScope(raw, "attr")
	if err != nil {
		return nil, err
	}
	attr, err := f.one("attr", oneOf("email", "repo", "status"))
	if err != nil {
		return nil, err
	}
	actions, err := f.many("action", oneOf("read", "manage"))
	if err != nil {
		return nil, err
	}
	if attr == "" {
		return nil, errors.New("attr is missing")
	}
	if len(actions) == 0 {
		actions = []string{"read"}
	}
	return accountPerm{attr, actions}, f.end()
}

func (p accountPerm) allows(a atom) bool {
	return a.kind == kindAccount && a.what == p.attr &&
		(slices.Contains(p.actions, "manage") || slices.Contains(p.actions, a.how))
}

func (p accountPerm) without(allowed func(atom) bool) []permission {
	rest := accountPerm{attr: p.attr}
	for _, how := range p.actions {
		if !allowed(atom{kindAccount, p.attr, how}) {
			rest.actions = append(rest.actions, how)
		}
	}
	if len(rest.actions) == 0 {
		return nil
	}
	return []permission{rest}
}

func (p accountPerm) String() string {
	if slices.Contains(p.actions, "manage") {
		return spell(kindAccount, "attr", []string{p.attr}, [2]string{"action", "manage"})
	}
	return spell(kindAccount, "attr", []string{p.attr})
}

// identityPerm allows changing the handle, or everything about the DID.
type identityPerm struct{ attr string }

func parseIdentity(raw string) (permission, error) {
	f, err := splitScope(raw, "attr")
	if err != nil {
		return nil, err
	}
	attr, err := f.one("attr", oneOf("handle", "*"))
	if err != nil {
		return nil, err
	}
	if attr == "" {
		return nil, errors.New("attr is missing")
	}
	return identityPerm{attr}, f.end()
}

func (p identityPerm) allows(a atom) bool {
	return a.kind == kindIdentity && (p.attr == "*" || p.attr == a.what)
}

func (p identityPerm) without(allowed func(atom) bool) []permission {
	if allowed(atom{kind: kindIdentity, what: p.attr}) {
		return nil
	}
	return []permission{p}
}

func (p identityPerm) String() string { return spell(kindIdentity, "attr", []string{p.attr}) }

// includePerm names a permission set that the authorization server expands.
type includePerm struct{ nsid, aud string }

func parseInclude(raw string) (permission, error) {
	f, err := splitScope(raw, "nsid")
	if err != nil {
		return nil, err
	}
	nsid, err := f.one("nsid", checkNSID)
	if err != nil {
		return nil, err
	}
	aud, err := f.one("aud", audience)
	if err != nil {
		return nil, err
	}
	if nsid == "" {
		return nil, errors.New("nsid is missing")
	}
	return includePerm{nsid, aud}, f.end()
}

func (p includePerm) allows(a atom) bool {
	return a.kind == kindInclude && a.what == p.nsid && a.how == p.aud
}

func (p includePerm) without(allowed func(atom) bool) []permission {
	if allowed(atom{kindInclude, p.nsid, p.aud}) {
		return nil
	}
	return []permission{p}
}

func (p includePerm) String() string {
	if p.aud == "" {
		return spell(kindInclude, "nsid", []string{p.nsid})
	}
	return spell(kindInclude, "nsid", []string{p.nsid}, [2]string{"aud", p.aud})
}
