package agent

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// vault plays the password sessions of a PDS, from the specification of
// com.atproto.server. It is not asked until it has a password.
type vault struct {
	mu        sync.Mutex
	passwords map[string]string // account → password
	scope     string            // of the tokens; empty: of an app password
	serial    int
	access    string // what is good now
	refresh   string
	life      time.Duration // of access tokens; zero: they do not tell
	subject   string        // instead of the account, unless empty
	created   int
	refreshed int
	deleted   int
	spoil     func(w http.ResponseWriter, method string) bool // answers instead
	slow      chan struct{}                                   // refreshing waits for it, unless nil
}

func (v *vault) mount(mux *http.ServeMux) {
	for method, handle := range map[string]func(http.ResponseWriter, *http.Request){
		"createSession": v.create, "refreshSession": v.renew, "deleteSession": v.delete} {
		mux.HandleFunc("POST /xrpc/com.atproto.server."+method, func(w http.ResponseWriter, r *http.Request) {
			if v.slow != nil && method == "refreshSession" {
				<-v.slow
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			if v.spoil == nil || !v.spoil(w, method) {
				handle(w, r)
			}
		})
	}
}

// fresh gives out the next session.
func (v *vault) fresh(w http.ResponseWriter, did string) {
	v.serial++
	claims := map[string]any{"scope": "com.atproto.appPass", "n": v.serial}
	if v.scope != "" {
		claims["scope"] = v.scope
	}
	if v.life != 0 {
		claims["exp"] = time.Now().Add(v.life).Unix()
	}
	raw, _ := json.Marshal(claims)
	v.access = "e30." + base64.RawURLEncoding.EncodeToString(raw) + ".canary-access"
	v.refresh = fmt.Sprintf("canary-refresh-%d", v.serial)
	if v.subject != "" {
		did = v.subject
	}
	reply(w, map[string]any{"did": did, "handle": "x.example.com", "accessJwt": v.access, "refreshJwt": v.refresh})
}

func (v *vault) create(w http.ResponseWriter, r *http.Request) {
	var in struct{ Identifier, Password string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Password == "" || v.passwords[in.Identifier] != in.Password {
		refuse(w, http.StatusUnauthorized, "AuthenticationRequired", "Invalid identifier or password")
		return
	}
	v.created++
	v.fresh(w, in.Identifier)
}

func token(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (v *vault) renew(w http.ResponseWriter, r *http.Request) {
	if v.refresh == "" || token(r) != v.refresh {
		refuse(w, http.StatusBadRequest, "ExpiredToken", "Token has been revoked")
		return
	}
	v.refreshed++
	v.fresh(w, string(alice))
}

func (v *vault) delete(w http.ResponseWriter, r *http.Request) {
	if token(r) == v.refresh {
		v.access, v.refresh = "", ""
	}
	v.deleted++
	w.WriteHeader(http.StatusOK)
}

// admit judges the token of a write, if passwords are in use at all.
func (v *vault) admit(w http.ResponseWriter, r *http.Request, _ string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.passwords == nil || token(r) == "oauth" || token(r) == v.access && v.access != "" {
		return true
	}
	refuse(w, http.StatusBadRequest, "ExpiredToken", "Token has expired")
	return false
}

// forget makes the session's tokens useless, as its end at the server does.
func (v *vault) forget(access, refresh bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if access {
		v.access = "gone"
	}
	if refresh {
		v.refresh = "gone"
	}
}

func (v *vault) counts() (created, refreshed, deleted int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.created, v.refreshed, v.deleted
}
