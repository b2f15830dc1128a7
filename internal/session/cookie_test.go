package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

// S22: the attributes of the one long-lived cookie, as the browser gets them.
func TestDeviceCookieAttributes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		origin, name, header string
	}{
		{"https://atoll.example.org", "__Host-atoll",
			"__Host-atoll=value; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
		{"http://127.0.0.1:8080", "atoll-8080",
			"atoll-8080=value; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
	}
	for _, tc := range tests {
		cookies, err := session.NewCookies(tc.origin, time.Hour)
		if err != nil {
			t.Fatalf("NewCookies(%q): %v", tc.origin, err)
		}
		w := httptest.NewRecorder()
		cookies.SetDevice(w, keyring.NewSecret("value"))
		if diff := cmp.Diff([]string{tc.header}, w.Header().Values("Set-Cookie")); diff != "" {
			t.Errorf("SetDevice at %s (-want +got):\n%s", tc.origin, diff)
		}
		r := httptest.NewRequest(http.MethodGet, tc.origin, nil)
		r.AddCookie(&http.Cookie{Name: tc.name, Value: "value"})
		if got := cookies.Device(r).Reveal(); got != "value" {
			t.Errorf("Device at %s = %q, want %q", tc.origin, got, "value")
		}
		w = httptest.NewRecorder()
		cookies.SetDevice(w, keyring.Secret{})
		if c := w.Result().Cookies()[0]; c.MaxAge >= 0 || c.Value != "" || c.Name != tc.name {
			t.Errorf("SetDevice(empty) at %s = %v, want a removal", tc.origin, c)
		}
	}
}

func TestDefaultCookieLifeIsThatOfDevices(t *testing.T) {
	t.Parallel()
	cookies, err := session.NewCookies("https://atoll.example.org", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := time.Duration(cookies.DeviceCookie(keyring.NewSecret("x")).MaxAge) * time.Second
	if got != session.DefaultDeviceLife {
		t.Errorf("cookie lives %v, want %v", got, session.DefaultDeviceLife)
	}
}

func TestNewCookiesRefusesWhatIsNoOrigin(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"", "atoll.example.org", "ftp://atoll.example.org", "://"} {
		if _, err := session.NewCookies(origin, 0); err == nil {
			t.Errorf("NewCookies(%q) succeeded, want an error", origin)
		}
	}
}
