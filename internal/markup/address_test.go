package markup

import "testing"

// TestLinksGoToTheWebOnly holds that no link runs a script or hides its host.
func TestLinksGoToTheWebOnly(t *testing.T) {
	t.Parallel()
	tests := []struct{ uri, want string }{
		{"https://example.com/a?b=c&d", "https://example.com/a?b=c&d"},
		{"http://example.com", "http://example.com"},
		{"HTTPS://example.com/", "https://example.com/"},
		{"javascript:alert(1)", ""},
		{" javascript:alert(1)", ""},
		{"java\nscript:alert(1)", ""},
		{"data:text/html,<script>", ""},
		{"vbscript:x", ""},
		{"//example.com/", ""},
		{"/account", ""},
		{"https:example.com", ""},
		{"https:///x", ""},
		{"https://:8080/x", ""},
		{"https://bank.example@evil.example/", ""},
		{"https://user:pass@evil.example/", ""},
		{"at://did:plc:x/y", ""},
		{"https://exa mple.com/", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got, _ := WebAddress(tt.uri); got != tt.want {
			t.Errorf("WebAddress(%q) = %q, want %q", tt.uri, got, tt.want)
		}
	}
}
