// Package identity answers who somebody is: handle ⇄ DID ⇄ PDS, verified in
// both directions, with caches, and with errors that a person can act on. It
// also parses what people type to name themselves, and builds the DID
// document of the instance.
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

const (
	// foundFor is how long an answer may be used. Ten minutes is the most that
	// a sign-in may rely on (AT Protocol OAuth, identity verification).
	foundFor = 10 * time.Minute
	// absentFor is short, because people retry right after they mended a handle.
	absentFor = time.Minute
	// failedFor only keeps a stampede away from a host that is down.
	failedFor = 5 * time.Second
	// cacheSize bounds each of the two caches, in entries.
	cacheSize = 5_000
	// lookupLimit ends a look-up that nobody waits for any more.
	lookupLimit = 20 * time.Second
	// handleWait is how long a look-up by DID waits for the handle's host
	// before it answers with the invalid handle.
	handleWait = 5 * time.Second
)

// Config says what a Directory may reach.
type Config struct {
	// HTTP fetches DID documents and well-known answers. Required. It must
	// guard addresses and follow redirects only a few times; the size of
	// answers is bounded here as well.
	HTTP *http.Client
	// DNS looks up TXT records; nil is the system's resolver.
	DNS *net.Resolver
	// PLCURL is the origin of the did:plc directory; empty is the public one.
	PLCURL string
	// Dev allows .test handles, did:web on localhost (with a port), and PDSes
	// that speak plain http on loopback.
	Dev bool
	// DevHandles maps the end of a handle (".one.test") to the origin that
	// answers for such handles ("http://localhost:2583"); it is asked over the
	// well-known path with the handle as Host header, and DNS is not. Plain
	// http needs Dev.
	DevHandles map[string]string
	// Now is the clock of the caches; nil is time.Now.
	Now func() time.Time
	// Logger hears at debug level why a handle is shown as invalid; nil is silent.
	Logger *slog.Logger
}

// Directory looks up identities. It is safe for concurrent use and implements
// the SDK's identity.Directory. Identities it returns belong to the caller.
type Directory struct {
	cfg       Config
	plc       string
	handles   *cache[syntax.Handle, syntax.DID]
	documents *cache[syntax.DID, *sdk.DIDDocument]
}

var _ sdk.Directory = (*Directory)(nil)

// New checks cfg and returns an empty Directory. It does no I/O.
func New(cfg Config) (*Directory, error) {
	if cfg.HTTP == nil {
		return nil, errors.New("identity: no HTTP client given")
	}
	if cfg.DNS == nil {
		cfg.DNS = net.DefaultResolver
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PLCURL == "" {
		cfg.PLCURL = sdk.DefaultPLCURL
	}
	plc, err := Origin(cfg.PLCURL, cfg.Dev)
	if err != nil {
		return nil, fmt.Errorf("address of the PLC directory: %w", err)
	}
	local := make(map[string]string, len(cfg.DevHandles))
	for suffix, base := range cfg.DevHandles {
		origin, err := Origin(base, cfg.Dev)
		if err != nil {
			return nil, fmt.Errorf("address for handles under %s: %w", suffix, err)
		}
		local["."+strings.ToLower(strings.Trim(suffix, "."))] = origin
	}
	cfg.DevHandles = local
	cfg.Logger = cfg.Logger.With("component", "identity")
	d := &Directory{cfg: cfg, plc: plc}
	d.handles = newCache(cacheSize, cfg.Now, d.resolveHandle)
	d.documents = newCache(cacheSize, cfg.Now, d.resolveDID)
	return d, nil
}

// Lookup finds an identity by handle or DID; see LookupHandle and LookupDID.
func (d *Directory) Lookup(ctx context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	return d.lookup(ctx, id, time.Time{})
}

// LookupFresh is Lookup with answers that were asked for at most maxAge ago.
// Zero asks anew.
func (d *Directory) LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error) {
	return d.lookup(ctx, id, d.cfg.Now().Add(-maxAge))
}

func (d *Directory) lookup(ctx context.Context, id syntax.AtIdentifier, notBefore time.Time) (*sdk.Identity, error) {
	if id.IsDID() {
		return d.lookupDID(ctx, id.DID(), notBefore)
	}
	return d.lookupHandle(ctx, id.Handle(), notBefore)
}

// LookupHandle finds the account a handle leads to and checks that the
// account's DID document names the handle. Errors: *TLDError, *MismatchError,
// and *Error with ErrHandleNotFound, ErrAmbiguous, ErrDIDNotFound,
// ErrBadDocument, ErrUnsupportedDID or ErrUnavailable.
func (d *Directory) LookupHandle(ctx context.Context, handle syntax.Handle) (*sdk.Identity, error) {
	return d.lookupHandle(ctx, handle, time.Time{})
}

func (d *Directory) lookupHandle(ctx context.Context, handle syntax.Handle, notBefore time.Time) (*sdk.Identity, error) {
	handle = handle.Normalize()
	did, err := d.handleDID(ctx, handle, notBefore)
	if err != nil {
		return nil, err
	}
	doc, err := d.documents.get(ctx, did, notBefore)
	if err != nil {
		return nil, err
	}
	ident := identityOf(doc)
	// The first valid handle of the document is the only one that counts
	// (AT Protocol DID specification, DID documents).
	declared, err := ident.DeclaredHandle()
	if err != nil {
		return nil, &MismatchError{Direction: DIDToHandle, Handle: handle, DID: did}
	}
	if declared != handle {
		return nil, &MismatchError{Direction: DIDToHandle, Handle: handle, DID: did, Found: declared.String()}
	}
	ident.Handle = handle
	return ident, nil
}

// LookupDID finds an identity by its DID. A handle that does not verify is no
// error: Handle is then handle.invalid, and VerifyHandle says why. Errors:
// *TLDError (did:web), and *Error with ErrDIDNotFound, ErrBadDocument,
// ErrUnsupportedDID or ErrUnavailable.
func (d *Directory) LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error) {
	return d.lookupDID(ctx, did, time.Time{})
}

func (d *Directory) lookupDID(ctx context.Context, did syntax.DID, notBefore time.Time) (*sdk.Identity, error) {
	doc, err := d.documents.get(ctx, did, notBefore)
	if err != nil {
		return nil, err
	}
	ident := identityOf(doc)
	declared, err := ident.DeclaredHandle()
	if err != nil {
		return ident, nil
	}
	waiting, cancel := context.WithTimeout(ctx, handleWait)
	defer cancel()
	if err := d.verifyHandle(waiting, did, declared, notBefore); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("verify handle of %s: %w", did, ctx.Err())
		}
		d.cfg.Logger.DebugContext(ctx, "handle does not verify", "did", did, "handle", declared, "error", err)
		return ident, nil
	}
	ident.Handle = declared
	return ident, nil
}

// LookupDocument finds what an account's DID document says, by answers at most
// maxAge old, for those who need a key or a server: nobody is asked about the
// handle, whose host may be anybody's and slow. Handle is handle.invalid, whether
// it leads back or not. Errors are those of LookupDID.
func (d *Directory) LookupDocument(ctx context.Context, did syntax.DID, maxAge time.Duration) (*sdk.Identity, error) {
	doc, err := d.documents.get(ctx, did, d.cfg.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	return identityOf(doc), nil
}

// Remembers reports that LookupDID would ask nobody: both the document and where
// its handle leads were asked for lately.
func (d *Directory) Remembers(did syntax.DID) bool {
	doc, ok := d.documents.peek(did)
	if !ok || doc == nil {
		return ok
	}
	declared, err := identityOf(doc).DeclaredHandle()
	if err != nil {
		return true
	}
	_, ok = d.handles.peek(declared)
	return ok
}

// VerifyHandle checks that handle leads to did, which is one of the two
// directions; LookupHandle checks both. Errors: *MismatchError when it leads
// elsewhere, and those of LookupHandle when it leads nowhere.
func (d *Directory) VerifyHandle(ctx context.Context, did syntax.DID, handle syntax.Handle) error {
	return d.verifyHandle(ctx, did, handle.Normalize(), time.Time{})
}

func (d *Directory) verifyHandle(ctx context.Context, did syntax.DID, handle syntax.Handle, notBefore time.Time) error {
	found, err := d.handleDID(ctx, handle, notBefore)
	if err != nil {
		return err
	}
	if found != did {
		return &MismatchError{Direction: HandleToDID, Handle: handle, DID: did, Found: found.String()}
	}
	return nil
}

// Purge forgets what is cached about id: a handle with the document of the
// account it led to, a DID with the handle its document named.
func (d *Directory) Purge(_ context.Context, id syntax.AtIdentifier) error {
	if id.IsDID() {
		if doc, ok := d.documents.drop(id.DID()); ok {
			if declared, err := identityOf(doc).DeclaredHandle(); err == nil {
				d.handles.drop(declared)
			}
		}
		return nil
	}
	if did, ok := d.handles.drop(id.Handle().Normalize()); ok {
		d.documents.drop(did)
	}
	return nil
}

// PDS returns the origin of the account's PDS. Errors: *Error with ErrNoPDS
// or ErrBadDocument.
func (d *Directory) PDS(ident *sdk.Identity) (string, error) {
	return PDSEndpoint(ident, d.cfg.Dev)
}

// identityOf makes an identity whose parts the caller may change, because
// documents in the cache are shared.
func identityOf(doc *sdk.DIDDocument) *sdk.Identity {
	ident := sdk.ParseIdentity(doc)
	ident.AlsoKnownAs = slices.Clone(ident.AlsoKnownAs)
	return &ident
}
