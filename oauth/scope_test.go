package oauth_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth"
)

func TestMissingIsExactlyWhatIsNotGranted(t *testing.T) {
	t.Parallel()
	const post, vote = "repo:social.coves.community.postv2", "repo:social.coves.feed.vote"
	for _, c := range []struct{ name, granted, needed, missing string }{
		{"the same", "atproto " + post, "atproto " + post, ""},
		{"atproto itself", post, "atproto", "atproto"},
		{"another collection", "atproto " + post, vote, vote},
		{"another spelling", "repo?collection=a.b.c&action=delete&action=create&action=update", "repo:a.b.c", ""},
		{"percent-encoding is no difference", "repo:a%2Eb.c", "repo:a.b.c", ""},
		{"one action of three", "repo:a.b.c?action=create", "repo:a.b.c", "repo:a.b.c?action=update&action=delete"},
		{"wildcard collection", "repo:*", "repo:a.b.c?action=delete", ""},
		{"wildcard collection, one action", "repo:*?action=create", "repo:a.b.c?action=delete", "repo:a.b.c?action=delete"},
		{"a wildcard is not covered by examples", "repo:a.b.c", "repo:*", "repo:*"},
		{"no prefix wildcards", "repo:a.b.c", "repo:a.b.cd", "repo:a.b.cd"},
		{"collections from several scopes", "repo:a.b.c repo:a.b.d", "repo?collection=a.b.c&collection=a.b.d", ""},
		{"never more than lacking", "repo:a.b.c?action=create repo:a.b.d?action=delete",
			"repo?collection=a.b.c&collection=a.b.d&action=create&action=delete", "repo:a.b.c?action=delete repo:a.b.d?action=create"},
		{"blob type by range", "blob:image/*", "blob:image/png", ""},
		{"blob types differ in case", "blob:IMAGE/PNG", "blob:image/png", ""},
		{"blob range by any", "blob:*/*", "blob:video/*", ""},
		{"blob any by range", "blob:image/*", "blob:*/*", "blob:*/*"},
		{"blob other type", "blob:image/png", "blob?accept=image/png&accept=video/mp4", "blob:video/mp4"},
		{"blob type that only begins alike", "blob:image/*", "blob:imagex/png", "blob:imagex/png"},
		{"rpc any service", "rpc:app.b.getC?aud=*", "rpc:app.b.getC?aud=did:web:x.org%23s", ""},
		{"rpc any method", "rpc:*?aud=did:web:x.org%23s", "rpc:app.b.getC?aud=did:web:x.org%23s", ""},
		{"rpc other service", "rpc:app.b.getC?aud=did:web:y.org%23s", "rpc:app.b.getC?aud=did:web:x.org%23s", "rpc:app.b.getC?aud=did:web:x.org%23s"},
		{"to manage is to read", "account:email?action=manage", "account:email", ""},
		{"to read is not to manage", "account:email", "account:email?action=manage", "account:email?action=manage"},
		{"identity any", "identity:*", "identity:handle", ""},
		{"identity handle", "identity:handle", "identity:*", "identity:*"},
		{"include is only itself", "include:a.b.c", "repo:a.b.c", "repo:a.b.c"},
		{"the same include", "include:a.b.c", "include:a.b.c", ""},
		{"generic writes", "atproto transition:generic", post + " blob:image/png", ""},
		{"generic calls", "transition:generic", "rpc:app.b.getC?aud=*", ""},
		{"generic does not chat", "transition:generic", "rpc:chat.bsky.convo.getLog?aud=*", "rpc:chat.bsky.convo.getLog?aud=*"},
		{"chat chats", "transition:chat.bsky", "rpc:chat.bsky.convo.getLog?aud=*", ""},
		{"generic has no address", "transition:generic", "account:email", "account:email"},
		{"email reads the address", "transition:email", "account:email", ""},
		{"email does not manage it", "transition:email", "account:email?action=manage", "account:email?action=manage"},
		{"transition is needed by name", "repo:*", "transition:generic", "transition:generic"},
		{"unknown kinds by text", "openid", "openid profile", "profile"},
		{"malformed grants nothing", "repo:*?action=everything repo:", "repo:a.b.c", "repo:a.b.c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			granted, needed := oauth.GrantedScopes(c.granted), mustParse(t, c.needed)
			if got := granted.Missing(needed).String(); got != c.missing {
				t.Errorf("(%q).Missing(%q) = %q, want %q", c.granted, c.needed, got, c.missing)
			}
			if got, want := granted.Contains(needed), c.missing == ""; got != want {
				t.Errorf("(%q).Contains(%q) = %v, want %v", c.granted, c.needed, got, want)
			}
		})
	}
}

func TestMissingCompletesTheGrant(t *testing.T) {
	t.Parallel()
	granted := oauth.GrantedScopes("atproto repo:a.b.c?action=create blob?accept=image/png")
	needed := mustParse(t, "atproto repo?collection=a.b.c&collection=x.y.z blob:image/svg%2Bxml account:status?action=manage include:a.b.set?aud=did:web:x.org%23s")
	missing := granted.Missing(needed)
	if again := mustParse(t, missing.String()); !granted.Union(again).Contains(needed) {
		t.Errorf("granted + missing (%q) does not contain what was needed (%q)", missing, needed)
	}
}

func TestParseScopesNamesTheMistake(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"repo:", "repo", "repo:not-an-nsid", "repo:a.b.*", "repo:a.b.c?action=all", "repo:a.b.c?actoin=create",
		"repo:a.b.c?collection=a.b.d", "repo:%zz", "rpc:*?aud=*", "rpc:a.b.c", "rpc:a.b.c?aud=did:web:x.org",
		"rpc:a.b.c?aud=x%23y", "rpc:a.b.c?aud=*&aud=*", "blob", "blob:image", "blob:im*/png", "blob:image/p*",
		"account:phone", "account:email?action=write", "identity:did", "include:x", "include:a.b.c?aud=*", "a\"b", "a\\b", "ä",
	} {
		if _, err := oauth.ParseScopes("atproto " + bad); !errors.Is(err, oauth.ErrScopeSyntax) {
			t.Errorf("ParseScopes(%q) = %v, want ErrScopeSyntax", bad, err)
		}
	}
}

func TestScopesKeepOrderAndSpelling(t *testing.T) {
	t.Parallel()
	const text = "atproto repo?collection=a.b.c transition:email future:thing?x=1"
	s := mustParse(t, "  "+text+"  atproto ")
	if s.String() != text {
		t.Errorf("String() = %q, want %q", s, text)
	}
	want := []string{"atproto", "repo?collection=a.b.c", "transition:email", "future:thing?x=1"}
	if diff := cmp.Diff(want, s.List()); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
	if !(oauth.Scopes{}).IsEmpty() || s.IsEmpty() || s.HasIncludes() || !mustParse(t, "include:a.b.c").HasIncludes() {
		t.Error("IsEmpty or HasIncludes is wrong")
	}
}

func FuzzScopes(f *testing.F) {
	for _, seed := range []string{
		"atproto", "repo:a.b.c?action=create", "rpc?lxm=a.b.c&lxm=a.b.d&aud=did:web:x%23y", "blob:image/svg+xml",
		"account:email?action=manage", "identity:*", "include:a.b.c", "repo?", "?", ":", "repo:*?action=create&action=create",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lenient := oauth.GrantedScopes(text)
		if !lenient.Contains(lenient) {
			t.Fatalf("%q does not contain itself", text)
		}
		strict, err := oauth.ParseScopes(text)
		if err != nil {
			return
		}
		missing := (oauth.Scopes{}).Missing(strict)
		again, err := oauth.ParseScopes(missing.String())
		if err != nil || !again.Contains(strict) || !strict.Contains(again) {
			t.Fatalf("%q spelt again as %q means something else (%v)", text, missing, err)
		}
	})
}

func mustParse(t *testing.T, text string) oauth.Scopes {
	t.Helper()
	s, err := oauth.ParseScopes(text)
	if err != nil {
		t.Fatalf("ParseScopes(%q): %v", text, err)
	}
	return s
}
