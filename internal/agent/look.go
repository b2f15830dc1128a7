package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

// maxAnswer bounds what is read of small answers, in bytes.
const maxAnswer = 64 << 10

// maybeWritten reports that a write may have happened in spite of err. Servers
// also refuse what an earlier attempt has done already, each in its own words.
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

// refusedForGood reports that the server has understood a write and says no,
// for another reason than the state that the record is in.
func refusedForGood(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && !errors.Is(err, pds.ErrSwap)
}

// state is what is at a place: no record when cid is empty. rev is a revision
// of the repository that is not newer than that; empty when unknown.
type state struct {
	cid syntax.CID
	rev syntax.TID
}

// look reads back what is at place after a write whose outcome is unclear, for
// the reason cause.
func (a *Agent) look(ctx context.Context, origin string, place pds.Place, cause error) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	server, err := pds.New(pds.Config{Origin: origin, HTTP: a.cfg.HTTP, Now: a.cfg.Now})
	if err != nil {
		return state{}, err
	}
	// The revision first: whatever is read afterwards is at least as new, so
	// it is never taken for newer than it is.
	rev := a.latestRev(ctx, origin, place.Repo)
	found, err := server.GetRecord(ctx, place)
	switch {
	case errors.Is(err, pds.ErrRecordNotFound):
		return state{rev: rev}, nil
	case err != nil:
		a.log.WarnContext(ctx, "unclear whether a record was written", "record", place.URI(), "error", err)
		// Decided here: cause may be a refusal, which explain would go by,
		// although what was done before is refused as well.
		return state{}, unreachable(fmt.Errorf("read back: %w", errors.Join(err, cause)))
	}
	return state{cid: found.CID, rev: rev}, nil
}

// foundDone is what to say of a record that was written although cause came back.
func (a *Agent) foundDone(ctx context.Context, place pds.Place, there state, cause error) Done {
	a.log.InfoContext(ctx, "record was written although the answer was lost", "record", place.URI(), "cause", cause)
	return Done{URI: place.URI(), CID: there.cid, Rev: there.rev}
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
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&said) != nil {
		return ""
	}
	rev, err := syntax.ParseTID(said.Rev)
	if err != nil {
		return ""
	}
	return rev
}

// Read is a record as its account's server has it.
type Read struct {
	CID syntax.CID
	// Record holds the types of atdata.
	Record map[string]any
}

// Read reads a record of any account from that account's own server, in
// nobody's name. What comes back hashes to its CID. Errors: pds.ErrRecordNotFound
// inside a fault NotFound; *Error otherwise, or one of our own.
func (a *Agent) Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (Read, error) {
	place := pds.Place{Repo: did, Collection: collection, RKey: rkey}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	read, err := a.read(ctx, place)
	if errors.Is(err, pds.ErrRecordNotFound) {
		return Read{}, fmt.Errorf("read %s: %w", place.URI(), fault.Wrap(fault.NotFound, err, "There is no such record.").WithCode("NotFound"))
	}
	if err != nil {
		return Read{}, fmt.Errorf("read %s: %w", place.URI(), a.explain(err))
	}
	return read, nil
}

func (a *Agent) read(ctx context.Context, place pds.Place) (Read, error) {
	origin, err := a.host(ctx, place.Repo)
	if err != nil {
		return Read{}, err
	}
	server, err := pds.New(pds.Config{Origin: origin, HTTP: a.cfg.HTTP, Now: a.cfg.Now})
	if err != nil {
		return Read{}, err
	}
	found, err := server.GetRecord(ctx, place)
	if err != nil {
		return Read{}, err
	}
	record, err := atdata.UnmarshalJSON(found.Value)
	if err != nil {
		return Read{}, fmt.Errorf("%w: %w", pds.ErrBadAnswer, err)
	}
	if c, err := RecordCID(record); err != nil || c != found.CID {
		return Read{}, fmt.Errorf("%w: the record has the CID %s, not %s (%w)", pds.ErrBadAnswer, c, found.CID, err)
	}
	return Read{CID: found.CID, Record: record}, nil
}
