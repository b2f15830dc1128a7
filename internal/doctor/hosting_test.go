package doctor_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/doctor"
	"github.com/atoll-social/atoll/internal/keyring"
)

// routed sends every name to one server, but for names that lead nowhere.
type routed struct {
	to      *url.URL
	nowhere string
}

func (r routed) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.nowhere != "" && strings.HasSuffix(req.URL.Host, r.nowhere) {
		return nil, errors.New("no such host")
	}
	moved := req.Clone(req.Context())
	moved.URL.Scheme, moved.URL.Host = r.to.Scheme, r.to.Host
	return http.DefaultTransport.RoundTrip(moved)
}

// TestHosting holds that what would stop the first community is found before.
func TestHosting(t *testing.T) {
	t.Parallel()
	const domain = "c.example.org"
	good := doctor.Hosting{PDS: "https://pds.example.org", AdminPassword: keyring.NewSecret("right"), HandleDomain: domain, Mint: true}
	cases := []struct {
		name, check, says, nowhere string
		status                     int
		change                     func(*doctor.Hosting)
	}{
		{name: "all is well"},
		{name: "off", check: "hosting", says: "is off", change: func(h *doctor.Hosting) { *h = doctor.Hosting{} }},
		{name: "another domain", check: "PDS", says: "not under .other.example.org", change: func(h *doctor.Hosting) { h.HandleDomain = "other.example.org" }},
		{name: "no invite", check: "PDS", says: "invite code only", change: func(h *doctor.Hosting) { h.Mint = false }},
		{name: "a wrong password", check: "administrator", says: "refused", change: func(h *doctor.Hosting) { h.AdminPassword = keyring.NewSecret("wrong") }},
		{name: "no wildcard", check: "handles", says: "nothing answers", nowhere: "." + domain},
		{name: "the PDS is broken", check: "PDS", says: "status 502", status: 502},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/xrpc/com.atproto.server.describeServer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"did":"did:web:pds.example.org","availableUserDomains":[".%s"],"inviteCodeRequired":true}`, domain)
	})
	mux.HandleFunc("/xrpc/com.atproto.admin.getAccountInfo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, password, _ := r.BasicAuth(); password != "right" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"AuthenticationRequired"}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"NotFound","message":"Account not found"}`)
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.status != 0 {
					w.WriteHeader(c.status)
					return
				}
				mux.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			to, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			h := good
			if c.change != nil {
				c.change(&h)
			}
			d := instance(t, nil)
			d.HTTP = &http.Client{Transport: routed{to, c.nowhere}}
			if h.PDS != "" {
				d.Hosting = &h
			}
			findings := d.CheckHosting(t.Context())
			var out bytes.Buffer
			healthy := doctor.Print(&out, findings)
			switch {
			case c.check == "" || c.name == "off":
				if !healthy || !strings.Contains(out.String(), c.says) {
					t.Errorf("found:\n%s", out.String())
				}
			case healthy || !hasLine(out.String(), c.check, c.says):
				t.Errorf("want a line about %q that says %q; found:\n%s", c.check, c.says, out.String())
			}
			if strings.Contains(out.String(), "right") || strings.Contains(out.String(), "wrong") {
				t.Errorf("the password is shown:\n%s", out.String())
			}
		})
	}
}
