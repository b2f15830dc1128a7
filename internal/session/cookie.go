package session

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Cookies names, writes and reads the instance's cookies (S22). Over https they
// carry the __Host- prefix: Secure, this host only, the whole path. In
// development the name carries the port instead, because browsers share cookies
// between the ports of one host.
type Cookies struct {
	base   string
	secure bool
	life   time.Duration
}

// NewCookies returns the cookies of the instance at origin, which is
// https://host or, in development, http://host:port. life is how long a browser
// keeps the device cookie; zero means DefaultDeviceLife.
func NewCookies(origin string, life time.Duration) (Cookies, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return Cookies{}, fmt.Errorf("session: %q is no origin", origin)
	}
	if life == 0 {
		life = DefaultDeviceLife
	}
	switch u.Scheme {
	case "https":
		return Cookies{base: "__Host-atoll", secure: true, life: life}, nil
	case "http":
		return Cookies{base: "atoll-" + portOf(u), life: life}, nil
	}
	return Cookies{}, fmt.Errorf("session: %q is neither http nor https", origin)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

// Name returns the full name of the cookie with this suffix; the empty suffix
// is the device cookie.
func (c Cookies) Name(suffix string) string {
	if suffix == "" {
		return c.base
	}
	return c.base + "-" + suffix
}

// Make returns a cookie with the attributes that all of ours have. A life of
// zero or less makes one that removes the browser's.
func (c Cookies) Make(suffix, value string, life time.Duration) *http.Cookie {
	cookie := &http.Cookie{
		Name: c.Name(suffix), Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if life <= 0 {
		cookie.Value, cookie.MaxAge = "", -1
	}
	return cookie
}

// Device reads the device cookie's value; it is empty when there is none.
func (c Cookies) Device(r *http.Request) keyring.Secret {
	cookie, err := r.Cookie(c.base)
	if err != nil {
		return keyring.Secret{}
	}
	return keyring.NewSecret(cookie.Value)
}

// SetDevice hands a device cookie to the browser, or removes it when token is
// empty. Pass what SignIn, SignOut and their like returned; for a Device that
// was Renewed pass the value that was looked up.
func (c Cookies) SetDevice(w http.ResponseWriter, token keyring.Secret) {
	http.SetCookie(w, c.DeviceCookie(token))
}

// DeviceCookie is the cookie that SetDevice writes.
func (c Cookies) DeviceCookie(token keyring.Secret) *http.Cookie {
	if token.IsZero() {
		return c.Make("", "", 0)
	}
	return c.Make("", token.Reveal(), c.life)
}
