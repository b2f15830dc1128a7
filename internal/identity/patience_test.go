package identity_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
)

// silentDNS is a resolver whose name server never answers. It must be made
// outside of a synctest bubble: the first look-up of a process makes channels
// that all later ones share.
func silentDNS(t *testing.T) *net.Resolver {
	t.Helper()
	first := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed
	}}
	if _, err := first.LookupTXT(t.Context(), "atoll-tests.net."); err == nil {
		t.Fatal("a resolver without a name server has an answer")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}

// inMemory answers from a map of URLs; a missing one never answers.
func inMemory(bodies map[string]string) *http.Client {
	return &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		body, ok := bodies[r.URL.String()]
		if !ok {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}
}

func TestSilentNameServerDoesNotStopAHandleOverHTTPS(t *testing.T) {
	t.Parallel()
	dns := silentDNS(t)
	synctest.Test(t, func(t *testing.T) {
		d, err := identity.New(identity.Config{DNS: dns, PLCURL: plcURL, HTTP: inMemory(map[string]string{
			plcURL + "/" + alice.String():                                  document(alice, []string{"at://" + aliceHandle.String()}, pdsOne),
			"https://" + aliceHandle.String() + "/.well-known/atproto-did": alice.String(),
		})})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := d.LookupHandle(t.Context(), aliceHandle); err != nil {
			t.Errorf("LookupHandle: %v", err)
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("took %v, want the name server given up after 4 s", took)
		}
	})
}

// Who needs a key or a server does not wait for the handle, not at all.
func TestDocumentsAreHadWithoutTheHandlesHost(t *testing.T) {
	t.Parallel()
	dns := silentDNS(t)
	synctest.Test(t, func(t *testing.T) {
		d, err := identity.New(identity.Config{DNS: dns, PLCURL: plcURL, HTTP: inMemory(map[string]string{
			plcURL + "/" + alice.String(): document(alice, []string{"at://" + aliceHandle.String()}, pdsOne),
		})})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := d.LookupDocument(t.Context(), alice, 0)
		if err != nil || got.DID != alice || got.Handle != syntax.HandleInvalid || got.PDSEndpoint() != pdsOne {
			t.Errorf("LookupDocument = %+v, %v; want the account with no handle", got, err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want nobody to be waited for", took)
		}
	})
}

func TestSilentHandleHostDoesNotHideTheAccount(t *testing.T) {
	t.Parallel()
	dns := silentDNS(t)
	synctest.Test(t, func(t *testing.T) {
		d, err := identity.New(identity.Config{DNS: dns, PLCURL: plcURL, HTTP: inMemory(map[string]string{
			plcURL + "/" + alice.String(): document(alice, []string{"at://" + aliceHandle.String()}, pdsOne),
		})})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := d.LookupDID(t.Context(), alice)
		if err != nil || got.Handle != syntax.HandleInvalid || got.PDSEndpoint() != pdsOne {
			t.Errorf("LookupDID = %+v, %v; want the account without its handle", got, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v, want 5 s at most", took)
		}
		time.Sleep(time.Minute) // nobody waits for the handle any more: that look-up ends by itself
	})
}
