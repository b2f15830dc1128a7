package identity

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
)

const testDID = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")

func TestParseDocumentKeepsWhatIsOurs(t *testing.T) {
	t.Parallel()
	body := `{
	  "@context": [{"a": 1}, 7],
	  "id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
	  "controller": ["did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"],
	  "alsoKnownAs": [17, "https://alice.example.com", "at://alice.atoll-tests.net"],
	  "verificationMethod": [{"id": "#x", "publicKeyJwk": {}}, "did:key:z"],
	  "service": [
	    {"id": "#hub", "type": "LinkedDomains", "serviceEndpoint": {"origins": ["https://a.net"]}},
	    {"id": "#atproto_pds", "type": "SomethingElse", "serviceEndpoint": "https://wrong.atoll-tests.net"},
	    {"id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds1.atoll-tests.net"},
	    {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://second.atoll-tests.net"}
	  ]}`
	doc, err := parseDocument([]byte(body), testDID)
	if err != nil {
		t.Fatalf("parseDocument: %v", err)
	}
	if diff := cmp.Diff([]string{"https://alice.example.com", "at://alice.atoll-tests.net"}, doc.AlsoKnownAs); diff != "" {
		t.Errorf("alsoKnownAs (-want +got):\n%s", diff)
	}
	if got := identityOf(doc).PDSEndpoint(); got != "https://pds1.atoll-tests.net" {
		t.Errorf("PDS = %q, want the first of the right type", got)
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"a page":           "<!doctype html>",
		"nothing":          "",
		"another account":  `{"id": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"}`,
		"no id":            `{"alsoKnownAs": ["at://alice.atoll-tests.net"]}`,
		"a list":           `[]`,
		"null":             `null`,
		"a wrong shape":    `{"id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "service": "none"}`,
		"bytes, not text":  "{\"id\": \"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa\", \"x\": \"\xff\"}",
		"something behind": `{"id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"} {}`,
	}
	for name, body := range tests {
		if doc, err := parseDocument([]byte(body), testDID); err == nil {
			t.Errorf("parseDocument(%s) = %+v, want an error", name, doc)
		}
	}
}

func TestDocumentURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		did  string
		dev  bool
		want string // empty: refused
		err  error
	}{
		{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", false, "https://plc.directory/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", nil},
		{"did:plc:AAAAAAAAAAAAAAAAAAAAAAAA", false, "", ErrUnsupportedDID},
		{"did:plc:a/../b", false, "", ErrUnsupportedDID},
		{"did:plc:short", false, "", ErrUnsupportedDID},
		{"did:plc:aaaaaaaaaaaaaaaaaaaaaaa1", false, "", ErrUnsupportedDID},
		{"did:web:alice.atoll-tests.net", false, "https://alice.atoll-tests.net/.well-known/did.json", nil},
		{"did:web:alice.atoll-tests.net:people:alice", false, "", ErrUnsupportedDID},
		{"did:web:alice.atoll-tests.net%3A8443", true, "", ErrUnsupportedDID},
		{"did:web:alice.atoll-tests.net%2Fpath", false, "", ErrUnsupportedDID},
		{"did:web:Alice.atoll-tests.net", false, "", ErrUnsupportedDID},
		{"did:web:127.0.0.1", true, "", ErrUnsupportedDID},
		{"did:web:alice", false, "", ErrUnsupportedDID},
		{"did:web:alice.test", false, "", ErrReservedTLD},
		{"did:web:alice.test", true, "https://alice.test/.well-known/did.json", nil},
		{"did:web:alice.local", true, "", ErrReservedTLD},
		{"did:web:localhost", false, "", ErrReservedTLD},
		{"did:web:localhost%3A2583", false, "", ErrReservedTLD},
		{"did:web:localhost%3A2583", true, "http://localhost:2583/.well-known/did.json", nil},
		{"did:web:localhost", true, "http://localhost/.well-known/did.json", nil},
		{"did:web:localhost%3A2583%3A1", true, "", ErrUnsupportedDID},
		{"did:web:localhost%3A99999", true, "", ErrUnsupportedDID},
		{"did:web:localhost%3A", true, "", ErrUnsupportedDID},
		{"did:key:z6Mkf5rGMoatrSj1f4CyvuHBeXJELe9RPdzo2PKGNCKVtZxP", false, "", ErrUnsupportedDID},
	}
	for _, tt := range tests {
		d, err := New(Config{HTTP: &http.Client{}, Dev: tt.dev})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.documentURL(syntax.DID(tt.did))
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("documentURL(%s, dev %v) = %q, %v; want %q, %v", tt.did, tt.dev, got, err, tt.want, tt.err)
		}
	}
}

func TestPDSEndpoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		endpoint string
		dev      bool
		want     string
		err      error
	}{
		{"https://pds.atoll-tests.net", false, "https://pds.atoll-tests.net", nil},
		{"https://PDS.atoll-tests.net:443/", false, "https://pds.atoll-tests.net", nil},
		{"https://pds.atoll-tests.net:8443", false, "https://pds.atoll-tests.net:8443", nil},
		{"http://localhost:2583", true, "http://localhost:2583", nil},
		{"http://[::1]:2583", true, "http://[::1]:2583", nil},
		{"http://localhost:2583", false, "", ErrBadDocument},
		{"http://pds.atoll-tests.net", true, "", ErrBadDocument},
		{"https://pds.atoll-tests.net/path", false, "", ErrBadDocument},
		{"https://user@pds.atoll-tests.net", false, "", ErrBadDocument},
		{"https://pds.atoll-tests.net?x", false, "", ErrBadDocument},
		{"https://pds.atoll-tests.net#", false, "", ErrBadDocument},
		{"https://169.254.169.254", false, "", ErrBadDocument},
		{"https://pds", false, "", ErrBadDocument},
		{"https://pds.atoll-tests.net:0", false, "", ErrBadDocument},
		{"https://pds.atoll-tests.net:70000", false, "", ErrBadDocument},
		{"https:pds.atoll-tests.net", false, "", ErrBadDocument},
		{"wss://pds.atoll-tests.net", false, "", ErrBadDocument},
		{"", false, "", ErrNoPDS},
	}
	for _, tt := range tests {
		ident := &sdk.Identity{DID: testDID, Services: map[string]sdk.ServiceEndpoint{
			"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: tt.endpoint},
		}}
		got, err := PDSEndpoint(ident, tt.dev)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("PDSEndpoint(%q, dev %v) = %q, %v; want %q, %v", tt.endpoint, tt.dev, got, err, tt.want, tt.err)
		}
	}
	if _, err := PDSEndpoint(&sdk.Identity{DID: testDID}, false); !errors.Is(err, ErrNoPDS) {
		t.Errorf("PDSEndpoint without services = %v, want ErrNoPDS", err)
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","alsoKnownAs":["at://alice.atoll-tests.net"],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://pds.atoll-tests.net"}]}`))
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","verificationMethod":[{"id":"#atproto","type":"Multikey","controller":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","publicKeyMultibase":"z"}]}`))
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","service":[{"serviceEndpoint":{}},null,[]]}`))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, body []byte) {
		doc, err := parseDocument(body, testDID)
		if err != nil {
			return
		}
		ident := identityOf(doc)
		if ident.DID != testDID {
			t.Fatalf("document of %s taken for %s", ident.DID, testDID)
		}
		ident.PublicKey()
		if handle, err := ident.DeclaredHandle(); err == nil {
			if _, err := syntax.ParseHandle(handle.String()); err != nil {
				t.Fatalf("declared handle %q: %v", handle, err)
			}
		}
		if origin, err := PDSEndpoint(ident, true); err == nil {
			if again, err := Origin(origin, true); err != nil || again != origin {
				t.Fatalf("PDS %q is not in its final form: %q, %v", origin, again, err)
			}
		}
	})
}
