package community

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
)

// ErrCommunity is in errors about what a community is called.
var ErrCommunity = errors.New("community")

// ResolverConfig is what a Resolver needs.
type ResolverConfig struct {
	Index     *index.Index
	Directory record.Directory
	// HTTP reads profiles of communities that the index does not know yet: a
	// guarded client with limits on time and size.
	HTTP pds.Doer
	// Instance is this instance's own DID; empty when it has none.
	Instance syntax.DID
	// HandleDomain ends the handles of communities that this instance hosts;
	// empty when it hosts none.
	HandleDomain string
}

// Resolver finds the account that somebody names (C1). It is safe for
// concurrent use.
type Resolver struct{ cfg ResolverConfig }

// NewResolver checks cfg. It does no I/O.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if cfg.Index == nil || cfg.Directory == nil || cfg.HTTP == nil {
		return nil, errors.New("community: a resolver needs index, directory and HTTP client")
	}
	cfg.HandleDomain = strings.ToLower(strings.Trim(cfg.HandleDomain, "."))
	return &Resolver{cfg}, nil
}

// Resolve is Find for callers that need the DID alone.
func (r *Resolver) Resolve(ctx context.Context, text string) (syntax.DID, error) {
	id, err := r.Find(ctx, text)
	return id.DID, err
}

// Locate is Resolve for a reader: what the index knows is not asked of the
// network, and a DID, which need not be anybody's, never is. Before the network
// is asked, ask is called, whose error is passed on.
func (r *Resolver) Locate(ctx context.Context, text string, ask func() error) (syntax.DID, error) {
	return r.locate(ctx, text, ask, strings.TrimPrefix(strings.TrimSpace(text), "!"), r.Find)
}

// LocatePerson is Locate for people; see Person.
func (r *Resolver) LocatePerson(ctx context.Context, text string, ask func() error) (syntax.DID, error) {
	return r.locate(ctx, text, ask, strings.TrimSpace(text), r.Person)
}

func (r *Resolver) locate(ctx context.Context, text string, ask func() error, name string,
	find func(context.Context, string) (index.Identity, error),
) (syntax.DID, error) {
	name = strings.TrimPrefix(name, "@")
	if did, err := syntax.ParseDID(name); err == nil {
		return did, nil
	}
	if handle, err := syntax.ParseHandle(name); err == nil && !handle.IsInvalidHandle() {
		if did, ok, err := r.cfg.Index.ByHandle(ctx, handle.Normalize()); ok || err != nil {
			return did, err
		}
	}
	if err := ask(); err != nil {
		return "", err
	}
	id, err := find(ctx, text)
	return id.DID, err
}

// Find finds the account of the community that text names: a DID, a handle,
// @handle, !handle or !name@instance. Whether that account is a community is
// for the caller to ask, but the last form finds only communities whose
// instance is the one named, or which pages call that (index.DisplayHandle). Errors, all ErrCommunity: Invalid
// (InvalidRequest), NotFound (CommunityNotFound), and Unavailable when it
// cannot be found out just now.
func (r *Resolver) Find(ctx context.Context, text string) (index.Identity, error) {
	id, err := r.find(ctx, text)
	if err != nil {
		return index.Identity{}, fmt.Errorf("%w: %w", ErrCommunity, err)
	}
	return id, nil
}

// Community is Find for a community that somebody is to have something to do
// with: the index has it and may show it, or else its own repository says that
// it is one. Errors: those of Find, NotFound (CommunityNotFound) for every other
// account.
func (r *Resolver) Community(ctx context.Context, text string) (index.Identity, error) {
	id, err := r.Find(ctx, text)
	if err != nil {
		return index.Identity{}, err
	}
	hidden, err := r.cfg.Index.Hidden(ctx, id.DID)
	if err != nil {
		return index.Identity{}, err
	}
	host := syntax.DID("")
	if !hidden {
		if host, err = r.host(ctx, id); err != nil {
			return index.Identity{}, fmt.Errorf("%w: %w", ErrCommunity, err)
		}
	}
	if host == "" {
		return index.Identity{}, fmt.Errorf("%w: %w", ErrCommunity, fault.New(fault.NotFound,
			fmt.Sprintf("%.100s is no community, or is not there any more.", text)).WithCode("CommunityNotFound"))
	}
	return id, nil
}

func (r *Resolver) find(ctx context.Context, text string) (index.Identity, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return index.Identity{}, invalid(nil, "Name the community: by its handle, as !name@instance, or by its DID.")
	}
	rest, marked := strings.CutPrefix(text, "!")
	if name, host, of := strings.Cut(rest, "@"); marked && of && name != "" {
		return r.hosted(ctx, text, name, host)
	}
	id, err := r.account(ctx, rest, "A community is named by its handle or DID, not by the address of a server.")
	if err != nil {
		return index.Identity{}, missing(err, "CommunityNotFound", fmt.Sprintf("There is no community %.100s. Check its handle.", text))
	}
	return id, nil
}

// Person finds the account of the person that text names: a DID, a handle or
// @handle. Errors: Invalid (InvalidRequest), NotFound (ProfileNotFound), and
// Unavailable when it cannot be found out just now.
func (r *Resolver) Person(ctx context.Context, text string) (index.Identity, error) {
	if text = strings.TrimSpace(text); text == "" {
		return index.Identity{}, invalid(nil, "Name the person: by their handle or DID.")
	}
	id, err := r.account(ctx, text, "A person is named by their handle or DID, not by the address of a server.")
	if err != nil {
		return index.Identity{}, missing(err, "ProfileNotFound", fmt.Sprintf("There is no account %.100s. Check the handle.", text))
	}
	return id, nil
}

// gone is find for what is to be left behind: a DID needs no look-up, so that
// an account that is not there any more can be let go.
func (r *Resolver) gone(ctx context.Context, text string, find func(context.Context, string) (index.Identity, error)) (syntax.DID, error) {
	if input, err := identity.ParseInput(text); err == nil && input.Account.IsDID() && len(input.Account) <= index.MaxDIDBytes {
		return input.Account.DID(), nil
	}
	id, err := find(ctx, text)
	return id.DID, err
}

// account reads text and looks it up, verified in both directions. Errors are
// faults of our own, or the directory's.
func (r *Resolver) account(ctx context.Context, text, noServer string) (index.Identity, error) {
	input, err := identity.ParseInput(text)
	if err != nil {
		return index.Identity{}, invalid(err, identity.Fault(err).Public)
	}
	if input.Account == "" {
		return index.Identity{}, invalid(nil, noServer)
	}
	ident, err := r.cfg.Directory.Lookup(ctx, input.Account)
	if err != nil {
		return index.Identity{}, err
	}
	if len(ident.DID) > index.MaxDIDBytes {
		return index.Identity{}, invalid(nil, "This account's DID is too long.")
	}
	return record.Identity(r.cfg.Directory, ident), nil
}

// missing gives an error of account its name for people: not there, unless it
// is something else.
func missing(err error, code, sentence string) error {
	var own *fault.Error
	if errors.As(err, &own) && own.Code != "" {
		return own
	}
	f := identity.Fault(err)
	switch {
	case f.Kind == fault.Unavailable:
		return f
	case f.Kind == fault.Internal:
		return fmt.Errorf("look up account: %w", err)
	case errors.Is(err, identity.ErrReservedTLD), errors.Is(err, identity.ErrUnsupportedDID):
		return invalid(err, f.Public)
	}
	return fault.Wrap(fault.NotFound, err, sentence).WithCode(code)
}

// hosted finds !name@host. Its handle follows from the pattern of its instance:
// our own we know; of others the index knows what they host, and otherwise it
// is name.host. In any case the handle is verified in both directions, and the
// community says itself that it is hosted there.
func (r *Resolver) hosted(ctx context.Context, text, name, host string) (index.Identity, error) {
	malformed := func(cause error) error {
		return invalid(cause, "A community is named as !name@instance, such as !gardening@example.com.")
	}
	name, host = strings.ToLower(strings.TrimSpace(name)), strings.ToLower(strings.TrimSpace(host))
	if !isLabel(name) || strings.ContainsAny(host, "/@!") {
		return index.Identity{}, malformed(nil)
	}
	instance, err := syntax.ParseDID("did:web:" + strings.Replace(host, ":", "%3A", 1))
	if err != nil || len(instance) > index.MaxDIDBytes {
		return index.Identity{}, malformed(err)
	}
	none := fmt.Sprintf("There is no community %.100s. Check its name and its instance.", text)
	handle, err := r.pattern(ctx, instance, name, host)
	if err != nil {
		return index.Identity{}, err
	}
	if handle == "" {
		return index.Identity{}, fault.New(fault.NotFound, none).WithCode("CommunityNotFound")
	}
	id, err := r.account(ctx, handle, none)
	if err != nil {
		return index.Identity{}, missing(err, "CommunityNotFound", none)
	}
	says, err := r.host(ctx, id)
	if err != nil {
		return index.Identity{}, err
	}
	shown, err := r.shownAs(ctx, id, "!"+name+"@"+host)
	switch {
	case err != nil:
		return index.Identity{}, err
	case says != instance && !shown:
		return index.Identity{}, fault.Wrap(fault.NotFound, fmt.Errorf("%s is hosted by %q", id.DID, says), none).WithCode("CommunityNotFound")
	}
	return id, nil
}

// shownAs reports whether people see a community under this name: one whose host
// is not proven is called after its handle, which is.
func (r *Resolver) shownAs(ctx context.Context, id index.Identity, name string) (bool, error) {
	c, ok, err := r.cfg.Index.Community(ctx, id.DID)
	if err != nil {
		return false, fmt.Errorf("read community %s: %w", id.DID, err)
	}
	return ok && index.DisplayHandle(c.Account, c.Name, c.HostedBy, c.Hosted) == name, nil
}

// pattern is the handle of the community with this name at an instance, empty
// when it can have none.
func (r *Resolver) pattern(ctx context.Context, instance syntax.DID, name, host string) (string, error) {
	if instance == r.cfg.Instance {
		if r.cfg.HandleDomain == "" {
			return "", nil
		}
		return name + "." + r.cfg.HandleDomain, nil
	}
	known, ok, err := r.cfg.Index.CommunityAt(ctx, instance, name)
	if err != nil {
		return "", fmt.Errorf("look for a community at %s: %w", instance, err)
	}
	if ok {
		return known.Handle.String(), nil
	}
	if strings.Contains(host, ":") {
		return "", nil // ports are for development, where only our own instance has one
	}
	return name + "." + host, nil
}

// host is the instance that a community says it is hosted by, empty for an
// account that is no community. The index knows, or else the account's own
// repository does.
func (r *Resolver) host(ctx context.Context, id index.Identity) (syntax.DID, error) {
	known, ok, err := r.cfg.Index.Community(ctx, id.DID)
	if err != nil {
		return "", fmt.Errorf("read community %s: %w", id.DID, err)
	}
	if ok {
		return known.HostedBy, nil
	}
	profile, err := r.profile(ctx, id)
	return profile.HostedBy, err
}

// profile is what is needed of social.coves.community.profile.
type profile struct {
	HostedBy syntax.DID `json:"hostedBy"`
}

// profile reads a community's profile from its repository. It is empty when
// there is none. Errors: Unavailable.
func (r *Resolver) profile(ctx context.Context, id index.Identity) (profile, error) {
	if id.PDS == "" {
		return profile{}, nil
	}
	server, err := pds.New(pds.Config{Origin: id.PDS, HTTP: r.cfg.HTTP})
	if err != nil {
		return profile{}, fmt.Errorf("server of %s: %w", id.DID, err)
	}
	found, err := server.GetRecord(ctx, pds.Place{Repo: id.DID, Collection: index.CommunityCollection, RKey: "self"})
	var refused *pds.Error
	switch {
	case errors.As(err, &refused) && refused.Status < 500 && !refused.Limited():
		return profile{}, nil // not there, or not to be seen
	case err != nil:
		return profile{}, fault.Wrap(fault.Unavailable, err, "The community's server does not answer just now. Please try again in a minute.")
	}
	var p profile
	if err := json.Unmarshal(found.Value, &p); err != nil {
		return profile{}, nil //nolint:nilerr // what cannot be read is no community
	}
	return p, nil
}

// isLabel reports whether s can be one part of a host name, in lower case.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func invalid(cause error, sentence string) *fault.Error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}
