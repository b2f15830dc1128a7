package post

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
)

// Ref names a version of a record: com.atproto.repo.strongRef.
type Ref struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

// parseURI reads the URI of a record.
func parseURI(text string) (syntax.ATURI, error) {
	uri, err := syntax.ParseATURI(text)
	if err != nil || uri.Collection() == "" || uri.RecordKey() == "" || uri != recordAt(uri.Authority(), uri.Collection(), uri.RecordKey()) {
		return "", invalid(err, "The URI must be that of a record: at://DID/COLLECTION/KEY.")
	}
	return uri, nil
}

// recordAt names a record. The repository is a DID or a handle.
func recordAt(repo fmt.Stringer, collection syntax.NSID, rkey syntax.RecordKey) syntax.ATURI {
	return syntax.ATURI("at://" + repo.String() + "/" + collection.String() + "/" + rkey.String())
}

// subject finds what a ref names. The result says whether it is there: its
// absence has another name in every place. Errors: Invalid (InvalidRequest),
// Unavailable, or one of our own.
func (s *Service) subject(ctx context.Context, ref Ref) (subject index.Subject, ok bool, err error) {
	uri, err := parseURI(ref.URI)
	if err != nil {
		return index.Subject{}, false, err
	}
	if cid, err := syntax.ParseCID(ref.CID); err != nil || !isRecordCID(cid) {
		return index.Subject{}, false, invalid(err, "The CID must be that of a record.")
	}
	if uri, err = s.byDID(ctx, uri); err != nil {
		return index.Subject{}, false, err
	}
	return s.cfg.Index.Subject(ctx, uri)
}

// isRecordCID takes the one form that CIDs of records have (AT Protocol data
// model: CIDv1, DAG-CBOR, SHA-256, base32).
func isRecordCID(cid syntax.CID) bool { return len(cid) == 59 && cid[:7] == "bafyrei" }

// byDID names a record by its account's DID where the URI has a handle.
func (s *Service) byDID(ctx context.Context, uri syntax.ATURI) (syntax.ATURI, error) {
	if uri.Authority().IsDID() {
		return uri, nil
	}
	person, err := s.cfg.Communities.Person(ctx, uri.Authority().String())
	if err != nil {
		return "", err
	}
	return recordAt(person.DID, uri.Collection(), uri.RecordKey()), nil
}

// own finds the key of a record of the actor's own. Errors: Invalid
// (InvalidRequest), Forbidden (NotAuthorized) for records of others, NotFound
// with the code given.
func (s *Service) own(ctx context.Context, actor syntax.DID, text string, collection syntax.NSID, missing string) (syntax.RecordKey, error) {
	uri, err := parseURI(text)
	if err == nil {
		uri, err = s.byDID(ctx, uri)
	}
	if err != nil {
		return "", err
	}
	if uri.Collection() == index.LegacyPostCollection && collection == index.PostCollection {
		subject, ok, err := s.cfg.Index.Subject(ctx, uri)
		if err != nil {
			return "", err
		}
		if !ok {
			return "", gone(missing, nil)
		}
		uri = subject.URI
	}
	if uri.Collection() != collection {
		return "", invalid(nil, fmt.Sprintf("This is no record of type %s.", collection))
	}
	if did, err := uri.Authority().AsDID(); err != nil || did != actor {
		return "", fault.New(fault.Forbidden, "Only who wrote this may change it.").WithCode("NotAuthorized")
	}
	if _, err := syntax.ParseTID(uri.RecordKey().String()); err != nil {
		return "", invalid(err, "The URI has no key of such a record.")
	}
	return uri.RecordKey(), nil
}

// gone says that something is not there, under its name for it.
func gone(code string, cause error) error {
	what := map[string]string{"CommentNotFound": "comment", "ParentNotFound": "comment", "VoteNotFound": "vote"}[code]
	if what == "" {
		what = "post"
	}
	return fault.Wrap(fault.NotFound, cause, "There is no such "+what+", or not any more.").WithCode(code)
}

func postNotFound(cause error) error { return gone("PostNotFound", cause) }

// isMissing reports that a server has no such record.
func isMissing(err error) bool { return errors.Is(err, pds.ErrRecordNotFound) }

// isElsewhere reports that an account's server cannot be asked just now.
func isElsewhere(err error) bool {
	var known *agent.Error
	return errors.As(err, &known) && (known.Kind == agent.Unreachable || known.Kind == agent.RateLimited)
}

// mayTakePart refuses those whom a community has shut out, and answers to
// people with whom somebody will have nothing to do. Errors: Forbidden with
// Banned or Blocked.
func (s *Service) mayTakePart(ctx context.Context, actor syntax.DID, community syntax.DID, others ...syntax.DID) error {
	banned, err := s.cfg.Index.Banned(ctx, community, actor)
	if err != nil {
		return fmt.Errorf("look for a ban: %w", err)
	}
	if banned {
		return fault.New(fault.Forbidden, "This community has banned you.").WithCode("Banned")
	}
	for _, other := range others {
		apart, err := s.cfg.Index.Apart(ctx, actor, other)
		if err != nil {
			return err
		}
		if apart {
			return fault.New(fault.Forbidden, "You have blocked this person, or they have blocked you.").WithCode("Blocked")
		}
	}
	return nil
}
