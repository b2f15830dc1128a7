package community

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// stand is a member's word on a subject, of which there is at most one record:
// that they follow a community, or block it or a person.
type stand struct {
	collection syntax.NSID
	subject    syntax.DID
	// change makes the record from the one that is there, which may be empty;
	// $type, subject and createdAt are seen to.
	change func(record map[string]any)
}

// take writes the record of a stand into the actor's repository. However many
// ask at once, in however many processes, they write the same record: its key
// is chosen once. If others have put several there, the one with the greatest
// key is changed and the rest is removed.
func (s *Service) take(ctx context.Context, actor agent.Actor, st stand) (Record, error) {
	known, err := s.cfg.Index.Stands(ctx, st.collection, actor.DID, st.subject)
	if err != nil {
		return Record{}, err
	}
	key, err := s.standKey(ctx, actor.DID, st, known)
	if err != nil {
		return Record{}, err
	}
	was, err := s.cfg.Agent.Read(ctx, actor.DID, st.collection, key)
	if err != nil && !errors.Is(err, pds.ErrRecordNotFound) {
		return Record{}, err
	}
	is := s.standRecord(st, was.Record)
	cid, err := agent.RecordCID(is)
	if err != nil {
		return Record{}, err
	}
	out := Record{CID: cid, URI: pds.Place{Repo: actor.DID, Collection: st.collection, RKey: key}.URI(), Existing: cid == was.CID}
	if !out.Existing || len(known) == 0 || known[0].RKey != key {
		done, err := s.cfg.Records.Put(ctx, actor, agent.Put{Write: agent.Write{Collection: st.collection, RKey: key, Record: is}})
		if err != nil {
			return Record{}, err
		}
		out.CID = done.CID
	}
	s.dropOthers(ctx, actor, st, known, key)
	return out, nil
}

// standRecord is the record to be, from the one that is there. What it says
// that we know nothing of stays.
func (s *Service) standRecord(st stand, was map[string]any) map[string]any {
	is := maps.Clone(was)
	if is == nil || is["subject"] != string(st.subject) {
		is = map[string]any{}
	}
	is["$type"], is["subject"] = st.collection.String(), st.subject.String()
	if _, ok := is["createdAt"].(string); !ok {
		is["createdAt"] = datetime(s.cfg.Now())
	}
	st.change(is)
	return is
}

// dropOthers removes the records of a stand that do not count. They do no harm,
// so that failing is none.
func (s *Service) dropOthers(ctx context.Context, actor agent.Actor, st stand, known []index.Stand, key syntax.RecordKey) {
	for _, k := range known {
		if k.RKey == key {
			continue
		}
		if err := s.cfg.Records.Delete(ctx, actor, agent.Delete{Collection: st.collection, RKey: k.RKey}); err != nil {
			s.log.WarnContext(ctx, "a superfluous record stays", "did", actor.DID, "collection", st.collection, "rkey", k.RKey, "error", err)
		}
	}
}

// leaveNamed removes every record that actor has in a collection on the subject
// that text names.
func (s *Service) leaveNamed(ctx context.Context, actor agent.Actor, collection syntax.NSID, text string,
	find func(context.Context, string) (index.Identity, error)) error {
	subject, err := s.cfg.Names.gone(ctx, text, find)
	if err != nil {
		return err
	}
	return s.leave(ctx, actor, stand{collection: collection, subject: subject})
}

// leave removes every record of a stand.
func (s *Service) leave(ctx context.Context, actor agent.Actor, st stand) error {
	known, err := s.cfg.Index.Stands(ctx, st.collection, actor.DID, st.subject)
	if err != nil {
		return err
	}
	keys := make([]syntax.RecordKey, 0, len(known)+1)
	for _, k := range known {
		keys = append(keys, k.RKey)
	}
	var own syntax.RecordKey
	err = s.cfg.DB.Read().QueryRowContext(ctx, `
		SELECT COALESCE(max(rkey), '') FROM community_key WHERE did = $1 AND collection = $2 AND subject = $3`,
		actor.DID, st.collection, st.subject).Scan(&own)
	if err != nil {
		return fmt.Errorf("read record key: %w", err)
	}
	if own != "" && !slices.Contains(keys, own) { // perhaps written a moment ago
		keys = append(keys, own)
	}
	for _, key := range keys {
		if err := s.leaveOne(ctx, actor, agent.Delete{Collection: st.collection, RKey: key}); err != nil {
			return err
		}
	}
	return nil
}

// maxLeaves is how often a record is removed that others write again meanwhile.
const maxLeaves = 10

// leaveOne removes one record. Where nothing was to be removed, and somebody has
// written it before the agent could look, the server seems to contradict itself:
// then it is removed again.
func (s *Service) leaveOne(ctx context.Context, actor agent.Actor, del agent.Delete) error {
	for try := 1; ; try++ {
		err := s.cfg.Records.Delete(ctx, actor, del)
		if !errors.Is(err, pds.ErrBadAnswer) || try == maxLeaves {
			return err
		}
	}
}

// standKey is the key that the record of a stand has: the greatest one that is
// known, or else one that the first to ask chooses for all.
func (s *Service) standKey(ctx context.Context, did syntax.DID, st stand, known []index.Stand) (syntax.RecordKey, error) {
	var candidate syntax.RecordKey
	if len(known) > 0 {
		candidate = known[0].RKey
	} else {
		fresh, err := s.cfg.Agent.Key(ctx, did, "", nil)
		if err != nil {
			return "", err
		}
		candidate = syntax.RecordKey(fresh)
	}
	var key syntax.RecordKey
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `
			INSERT INTO community_key (did, collection, subject, rkey) VALUES ($1, $2, $3, $4)
			ON CONFLICT (did, collection, subject) DO UPDATE SET rkey = CASE
			    WHEN CAST($5 AS BOOLEAN) AND excluded.rkey > community_key.rkey THEN excluded.rkey ELSE community_key.rkey END
			RETURNING rkey`, did, st.collection, st.subject, candidate, len(known) > 0).Scan(&key)
	})
	if err != nil {
		return "", fmt.Errorf("choose a record key for %s: %w", did, err)
	}
	return key, nil
}
