package web

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPermissionsInWords(t *testing.T) {
	t.Parallel()
	tests := []struct{ scope, want string }{
		{"atproto", "Know who you are: your DID and handle"},
		{"repo:social.coves.community.postv2", "Write, change and delete posts in your repository"},
		{"repo:social.coves.community.postv2?action=create", "Write posts in your repository"},
		{"repo?collection=social.coves.feed.vote&collection=org.example.thing&action=create&action=delete",
			"Write and delete votes and records of the type org.example.thing in your repository"},
		{"repo:*", "Write, change and delete every kind of record in your repository"},
		{"repo:org.example.thing?action=sing", "Use your repository in a way that is not known here"},
		{"blob:image/*", "Upload images to your server"},
		{"blob?accept=video/*&accept=text/plain", "Upload videos and files of the kind text/plain to your server"},
		{"rpc:app.example.do?aud=*", "Ask other services for you: app.example.do"},
		{"include:app.example.set", "A set of permissions that is published as app.example.set"},
		{"something:new", "Use the permission “something:new”"},
		{"repo:%zz?%", "Use the permission “repo:%zz?%”"},
		{"", "Use the permission “”"},
	}
	for _, tt := range tests {
		if got := permission(tt.scope); got != tt.want {
			t.Errorf("permission(%q) = %q, want %q", tt.scope, got, tt.want)
		}
	}
	got := permissions([]string{"atproto", "account:email", "transition:email"})
	want := []string{"Know who you are: your DID and handle", "See your e-mail address"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions says things twice (-want +got):\n%s", diff)
	}
}

// Whatever a server grants is named in some way.
func FuzzPermissions(f *testing.F) {
	for _, scope := range []string{"atproto", "repo:a.b.c?action=create", "repo?collection=x", "blob:*/*", "rpc?lxm=a&aud=b", "::??&&=", "repo:?action="} {
		f.Add(scope)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		if permission(scope) == "" {
			t.Errorf("permission(%q) says nothing", scope)
		}
	})
}
