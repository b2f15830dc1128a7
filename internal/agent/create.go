package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

const (
	// writeTimeout bounds a write, from looking up the server to its answer.
	writeTimeout = 30 * time.Second
	// lookTimeout bounds reading back what may have been written.
	lookTimeout = 10 * time.Second
)

// Write is a record to create. The key must have been chosen before the first
// attempt; see Key.
type Write struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// Record holds the types of atdata and its $type. It must be the same at
	// every attempt.
	Record map[string]any
}

// Done is a record that is in the repository.
type Done struct {
	URI syntax.ATURI
	CID syntax.CID
	// Rev is the revision of the repository that has it, or an earlier one.
	// Empty when the server does not say, or holds something else than was
	// sent; the network's stream will tell.
	Rev syntax.TID
}

// Create writes a record in the actor's own repository. It may be called again
// with the same key and record after any error, and then finds what an earlier
// call has written. A request that ends early does not end the write.
// Errors: *Error, or one of our own.
func (a *Agent) Create(ctx context.Context, actor Actor, w Write) (Done, error) {
	place := pds.Place{Repo: actor.DID, Collection: w.Collection, RKey: w.RKey}
	done, err := a.create(context.WithoutCancel(ctx), actor, place, w.Record)
	if err != nil {
		scope := "repo:" + w.Collection.String() + "?action=create"
		return Done{}, fmt.Errorf("create %s: %w", place.URI(), a.explain(err, scope))
	}
	return done, nil
}

func (a *Agent) create(ctx context.Context, actor Actor, place pds.Place, record map[string]any) (Done, error) {
	want, err := RecordCID(record)
	if err != nil {
		return Done{}, err
	}
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	origin, err := a.host(writing, actor.DID)
	if err != nil {
		return Done{}, err
	}
	session, err := a.cfg.Open(writing, actor)
	if err != nil {
		return Done{}, err
	}
	server, err := pds.New(pds.Config{Origin: origin, HTTP: session, Now: a.cfg.Now})
	if err != nil {
		return Done{}, err
	}
	written, err := server.CreateRecord(writing, pds.CreateRecord{Place: place, Record: record})
	if err == nil {
		return exact(Done{URI: written.URI, CID: written.CID, Rev: written.Rev}, want), nil
	}
	if !maybeWritten(err) {
		return Done{}, err
	}
	return a.settle(ctx, origin, place, want, err)
}

// host finds the account's server.
func (a *Agent) host(ctx context.Context, did syntax.DID) (string, error) {
	ident, err := a.cfg.Directory.LookupDID(ctx, did)
	if err != nil {
		return "", identityError(err)
	}
	origin, err := a.cfg.Directory.PDS(ident)
	if err != nil {
		return "", identityError(err)
	}
	return origin, nil
}

// identityError keeps passing trouble for explain, and the sentence otherwise.
func identityError(err error) error {
	if errors.Is(err, identity.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Kind: Refused, public: identity.Fault(err)}
}

// exact forgets the revision of a record that is not what was sent: it must
// not be taken for ours.
func exact(d Done, want syntax.CID) Done {
	if d.CID != want {
		d.Rev = ""
	}
	return d
}

// maybeWritten reports that the record may be there in spite of err. Servers
// also refuse a key that is in use, each in its own words.
func maybeWritten(err error) bool {
	var refused *pds.Error
	if errors.As(err, &refused) {
		switch {
		case refused.Limited(), refused.Status == http.StatusUnauthorized, refused.Status == http.StatusForbidden:
			return false
		}
		return true
	}
	if errors.Is(err, client.ErrNotRefreshed) || errors.Is(err, client.ErrEnded) {
		return false // there were no tokens to send it with
	}
	return pds.Unclear(err)
}

// settle reads back what may have been written. cause is why that is unclear.
func (a *Agent) settle(ctx context.Context, origin string, place pds.Place, want syntax.CID, cause error) (Done, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	server, err := pds.New(pds.Config{Origin: origin, HTTP: a.cfg.HTTP, Now: a.cfg.Now})
	if err != nil {
		return Done{}, err
	}
	// The revision first: whatever is read afterwards is at least as new, so
	// it is never taken for newer than it is.
	rev := a.latestRev(ctx, origin, place.Repo)
	found, err := server.GetRecord(ctx, place)
	switch {
	case errors.Is(err, pds.ErrRecordNotFound):
		return Done{}, cause
	case err != nil:
		a.log.WarnContext(ctx, "unclear whether a record was written", "record", place.URI(), "error", err)
		// Decided here: cause may be a refusal, which explain would go by,
		// although a key that is in use is refused as well.
		return Done{}, unreachable(fmt.Errorf("read back: %w", errors.Join(err, cause)))
	case found.CID != want:
		return Done{}, taken(place)
	}
	a.log.InfoContext(ctx, "record was written although the answer was lost", "record", place.URI(), "cause", cause)
	return Done{URI: found.URI, CID: found.CID, Rev: rev}, nil
}

// latestRev asks for the repository's revision
// (com.atproto.sync.getLatestCommit). It is empty when there is no answer.
func (a *Agent) latestRev(ctx context.Context, origin string, did syntax.DID) syntax.TID {
	address := origin + "/xrpc/com.atproto.sync.getLatestCommit?did=" + url.QueryEscape(did.String())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return ""
	}
	res, err := a.cfg.HTTP.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var said struct {
		Rev string `json:"rev"`
	}
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said) != nil {
		return ""
	}
	rev, err := syntax.ParseTID(said.Rev)
	if err != nil {
		return ""
	}
	return rev
}

// RecordCID computes a record's CID (AT Protocol data model: DAG-CBOR,
// SHA-256).
func RecordCID(record map[string]any) (syntax.CID, error) {
	raw, err := atdata.MarshalCBOR(record)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "This cannot be written as a record.")
	}
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(raw)
	if err != nil {
		return "", fmt.Errorf("hash record: %w", err)
	}
	return syntax.CID(c.String()), nil
}
