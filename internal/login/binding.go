package login

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// A binding cookie ties one attempt to the browser that started it (S13). Its
// name carries the hash of the attempt's state, its value is the time, for
// finding the oldest, and a secret whose hash is stored with the attempt:
//
//	__Host-atoll-login-<hash of state> = <unix seconds>.<secret>
const bindingPrefix = "login-"

// maxBindings is how many sign-ins one browser can have under way.
const maxBindings = 8

// newBinding returns a cookie value for an attempt that begins now.
func newBinding(now time.Time) string {
	return strconv.FormatInt(now.Unix(), 10) + "." + rand.Text()
}

func hashBinding(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}

// bindingSuffix names the cookie of the attempt with this state.
func bindingSuffix(state string) string {
	return bindingPrefix + base64.RawURLEncoding.EncodeToString(hashState(state))
}

// bindingCookie is the cookie itself; it lives as long as the attempt (S14).
func bindingCookie(c session.Cookies, state, value string) *http.Cookie {
	return c.Make(bindingSuffix(state), value, client.AttemptLife)
}

// bound is a binding cookie that a browser has shown.
type bound struct {
	suffix    string
	stateHash []byte
	value     string
	began     int64 // unix seconds; 0 when it can't be read
}

// shownBindings finds the binding cookies of a request, oldest first.
func shownBindings(c session.Cookies, cookies []*http.Cookie) []bound {
	var all []bound
	for _, cookie := range cookies {
		hash, ok := strings.CutPrefix(cookie.Name, c.Name(bindingPrefix))
		if !ok {
			continue
		}
		b := bound{suffix: bindingPrefix + hash, value: cookie.Value}
		if decoded, err := base64.RawURLEncoding.DecodeString(hash); err == nil && len(decoded) == sha256.Size {
			b.stateHash = decoded
			began, _, _ := strings.Cut(cookie.Value, ".")
			b.began, _ = strconv.ParseInt(began, 10, 64) // unreadable counts as oldest
		}
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b bound) int { return cmp.Compare(a.began, b.began) })
	return all
}

// makeRoom returns removals of so many of the browser's oldest bindings that
// one more keeps it within maxBindings.
func makeRoom(c session.Cookies, shown []bound) []*http.Cookie {
	var removals []*http.Cookie
	for i := 0; i <= len(shown)-maxBindings; i++ {
		removals = append(removals, c.Make(shown[i].suffix, "", 0))
	}
	return removals
}

// holdsBinding tells whether the browser holds the cookie of the attempt.
func holdsBinding(c session.Cookies, cookies []*http.Cookie, state string, hash []byte) bool {
	name := c.Name(bindingSuffix(state))
	for _, cookie := range cookies {
		if cookie.Name == name && subtle.ConstantTimeCompare(hashBinding(cookie.Value), hash) == 1 {
			return true
		}
	}
	return false
}
