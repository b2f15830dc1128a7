package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

const (
	// dnsWait is how long a name server may take before the handle's web
	// server is asked instead.
	dnsWait = 4 * time.Second
	// maxDNSName is the longest name DNS can carry, without the final dot.
	maxDNSName = 253
	// maxWellKnown bounds the well-known answer, in bytes: the longest DID and
	// some white space.
	maxWellKnown = 2_100
)

// handleDID checks the handle's TLD before anything is asked or cached.
func (d *Directory) handleDID(ctx context.Context, handle syntax.Handle, notBefore time.Time) (syntax.DID, error) {
	_, local := d.localOrigin(handle)
	if err := CheckHost(handle.String(), d.cfg.Dev || local); err != nil {
		return "", err
	}
	return d.handles.get(ctx, handle, notBefore)
}

// resolveHandle asks DNS first and the handle's web server when DNS has no
// answer: where both answer, DNS counts (AT Protocol handle specification,
// resolution). Several TXT records that disagree are refused without asking
// further.
func (d *Directory) resolveHandle(ctx context.Context, handle syntax.Handle) (syntax.DID, error) {
	if origin, ok := d.localOrigin(handle); ok {
		return d.askWellKnown(ctx, handle, origin)
	}
	did, dnsErr := d.askDNS(ctx, handle)
	if dnsErr == nil || errors.Is(dnsErr, ErrAmbiguous) {
		return did, dnsErr
	}
	did, err := d.askWellKnown(ctx, handle, "https://"+handle.String())
	if errors.Is(err, ErrHandleNotFound) && errors.Is(dnsErr, ErrUnavailable) {
		// DNS may hold the answer that the web server does not have.
		return "", dnsErr
	}
	return did, err
}

// WellKnownDID asks the web server of a domain, and nobody else, which account
// the domain is of (/.well-known/atproto-did). It asks every time. Errors:
// *TLDError, and *Error with ErrHandleNotFound, ErrBlocked or ErrUnavailable.
func (d *Directory) WellKnownDID(ctx context.Context, domain syntax.Handle) (syntax.DID, error) {
	domain = domain.Normalize()
	origin, local := d.localOrigin(domain)
	if err := CheckHost(domain.String(), d.cfg.Dev || local); err != nil {
		return "", err
	}
	if !local {
		origin = "https://" + domain.String()
	}
	return d.askWellKnown(ctx, domain, origin)
}

func (d *Directory) localOrigin(handle syntax.Handle) (origin string, ok bool) {
	for suffix, origin := range d.cfg.DevHandles {
		if strings.HasSuffix(handle.String(), suffix) {
			return origin, true
		}
	}
	return "", false
}

func (d *Directory) askDNS(ctx context.Context, handle syntax.Handle) (syntax.DID, error) {
	name := "_atproto." + handle.String()
	if len(name) > maxDNSName {
		return "", &Error{Subject: handle.String(), Reason: ErrHandleNotFound}
	}
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	// The final dot keeps the resolver's search list out of it.
	records, err := d.cfg.DNS.LookupTXT(ctx, name+".")
	if err != nil {
		reason := ErrUnavailable
		if noSuchName(err) {
			reason = ErrHandleNotFound
		}
		return "", &Error{Subject: handle.String(), Reason: reason, Cause: err}
	}
	return didFromTXT(handle, records)
}

// didFromTXT picks the DID out of the TXT records of _atproto.{handle}.
// Records that don't start with "did=", or carry no DID, are none of ours.
func didFromTXT(handle syntax.Handle, records []string) (syntax.DID, error) {
	var found syntax.DID
	for _, record := range records {
		value, ok := strings.CutPrefix(record, "did=")
		if !ok {
			continue
		}
		did, err := syntax.ParseDID(value)
		if err != nil {
			continue
		}
		if found != "" && found != did {
			return "", &Error{Subject: handle.String(), Reason: ErrAmbiguous, Cause: fmt.Errorf("TXT records name %s and %s", found, did)}
		}
		found = did
	}
	if found == "" {
		return "", &Error{Subject: handle.String(), Reason: ErrHandleNotFound}
	}
	return found, nil
}

func (d *Directory) askWellKnown(ctx context.Context, handle syntax.Handle, origin string) (syntax.DID, error) {
	fail := func(reason, cause error) (syntax.DID, error) {
		return "", &Error{Subject: handle.String(), Reason: reason, Cause: cause}
	}
	status, body, err := d.fetch(ctx, origin+"/.well-known/atproto-did", handle.String(), maxWellKnown)
	switch {
	case noSuchName(err):
		return fail(ErrHandleNotFound, err)
	case errors.Is(err, errTooLarge): // a page for people, not an answer to us
		return fail(ErrHandleNotFound, err)
	case err != nil:
		return fail(unreached(err), err)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fail(ErrHandleNotFound, fmt.Errorf("%s answered with status %d", origin, status))
	case status < 200 || status > 299:
		return fail(ErrUnavailable, fmt.Errorf("%s answered with status %d", origin, status))
	}
	did, err := syntax.ParseDID(strings.TrimSpace(string(body)))
	if err != nil {
		return fail(ErrHandleNotFound, fmt.Errorf("%s answered with something that is no DID", origin))
	}
	return did, nil
}
