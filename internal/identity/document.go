package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// maxDocument bounds a DID document, in bytes. An operation of did:plc, from
// which its documents are made, has at most 7,500.
const maxDocument = 32 << 10

const (
	pdsService     = "#atproto_pds"
	pdsServiceType = "AtprotoPersonalDataServer"
)

// plcIdentifier is the method-specific part: 120 bits in base32.
var plcIdentifier = regexp.MustCompile(`^[a-z2-7]{24}$`)

// resolveDID fetches and parses the DID document of did.
func (d *Directory) resolveDID(ctx context.Context, did syntax.DID) (*sdk.DIDDocument, error) {
	url, err := d.documentURL(did)
	if err != nil {
		return nil, err
	}
	fail := func(reason, cause error) (*sdk.DIDDocument, error) {
		return nil, &Error{Subject: did.String(), Reason: reason, Cause: cause}
	}
	status, body, err := d.fetch(ctx, url, "", maxDocument)
	switch {
	case errors.Is(err, errTooLarge):
		return fail(ErrBadDocument, err)
	case noSuchName(err) && did.Method() == "web":
		return fail(ErrDIDNotFound, err)
	case err != nil:
		return fail(unreached(err), err)
	case status == http.StatusNotFound, status == http.StatusGone: // 410: the directory's word for a tombstone
		return fail(ErrDIDNotFound, fmt.Errorf("%s answered with status %d", url, status))
	case status != http.StatusOK:
		return fail(ErrUnavailable, fmt.Errorf("%s answered with status %d", url, status))
	}
	doc, err := parseDocument(body, did)
	if err != nil {
		return fail(ErrBadDocument, fmt.Errorf("document at %s: %w", url, err))
	}
	return doc, nil
}

// documentURL says where the document of did is. AT Protocol knows did:plc
// and did:web; of the latter only the form that is a bare host name. A port is
// for localhost in development (AT Protocol DID specification).
func (d *Directory) documentURL(did syntax.DID) (string, error) {
	if err := checkDID(did); err != nil {
		return "", err
	}
	if did.Method() == "plc" {
		return d.plc + "/" + did.String(), nil
	}
	host, port, _ := strings.Cut(did.Identifier(), "%3A")
	if host == "localhost" {
		if !d.cfg.Dev {
			return "", &TLDError{Host: host, TLD: "localhost"}
		}
		if port != "" {
			host += ":" + port
		}
		return "http://" + host + "/.well-known/did.json", nil
	}
	if err := CheckHost(host, d.cfg.Dev); err != nil {
		return "", err
	}
	return "https://" + host + "/.well-known/did.json", nil
}

// checkDID refuses DIDs that no document can be found for, before anything is
// fetched.
func checkDID(did syntax.DID) error {
	refuse := func(why string) error {
		return &Error{Subject: did.String(), Reason: ErrUnsupportedDID, Cause: errors.New(why)}
	}
	switch did.Method() {
	case "plc":
		if !plcIdentifier.MatchString(did.Identifier()) {
			return refuse("a did:plc has 24 characters of a-z and 2-7")
		}
		return nil
	case "web":
		host, port, hasPort := strings.Cut(did.Identifier(), "%3A")
		if host == "localhost" {
			if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
				return refuse("the port is not a number")
			}
			return nil
		}
		if _, err := syntax.ParseHandle(host); err != nil || hasPort || host != strings.ToLower(host) {
			return refuse("a did:web here is a bare host name in lower case, without port and path")
		}
		return nil
	default:
		return refuse("accounts have a did:plc or a did:web")
	}
}

// rawDocument is what of a DID document matters to AT Protocol. Entries stay
// raw at first, because one that another application put there in a shape of
// its own (W3C DID Core allows many) must not make the account unreachable.
type rawDocument struct {
	ID                 string            `json:"id"`
	AlsoKnownAs        []json.RawMessage `json:"alsoKnownAs"`
	VerificationMethod []json.RawMessage `json:"verificationMethod"`
	Service            []json.RawMessage `json:"service"`
}

// parseDocument reads the document of did and leaves out what is not ours.
func parseDocument(body []byte, did syntax.DID) (*sdk.DIDDocument, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("is not UTF-8")
	}
	var raw rawDocument
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("is no DID document: %w", err)
	}
	if raw.ID != did.String() {
		return nil, fmt.Errorf("is about %.100q", raw.ID)
	}
	doc := &sdk.DIDDocument{
		DID:                did,
		AlsoKnownAs:        readable[string](raw.AlsoKnownAs),
		VerificationMethod: readable[sdk.DocVerificationMethod](raw.VerificationMethod),
	}
	for _, service := range readable[sdk.DocService](raw.Service) {
		// The SDK goes by the first entry with an id; the PDS needs the type too.
		if strings.HasSuffix(service.ID, pdsService) && service.Type != pdsServiceType {
			continue
		}
		doc.Service = append(doc.Service, service)
	}
	return doc, nil
}

func readable[T any](raws []json.RawMessage) []T {
	var out []T
	for _, raw := range raws {
		var value T
		if json.Unmarshal(raw, &value) == nil {
			out = append(out, value)
		}
	}
	return out
}
