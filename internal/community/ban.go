package community

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// BanInput is whom a community shuts out, and for how long.
type BanInput struct {
	Community, Person string // as for Resolver
	Reason            string // public; at most 2,000 bytes
	// For is how long; 0 is for ever. Whole hours are counted, at least one.
	For time.Duration
	// Key as for post.CreateInput.
	Key string
}

const (
	maxBanReason = 2_000
	maxBan       = 100 * 365 * 24 * time.Hour
)

// Ban shuts somebody out of a community: from now on what they post there is
// not admitted, and what of theirs waits is removed. The record is public, in
// the community's repository. A person who is banned already stays so as they
// are. Errors: those of SetPolicy, of Resolver.Person and of agent.Create.
func (s *Service) Ban(ctx context.Context, actor agent.Actor, in BanInput) (Record, error) {
	switch {
	case in.Reason == "" || len(in.Reason) > maxBanReason:
		return Record{}, invalid(nil, "Say why, with at most 2,000 characters.")
	case in.For < 0 || in.For > maxBan:
		return Record{}, invalid(nil, "A ban lasts for some hours, or for ever.")
	}
	community, err := s.governed(ctx, actor.DID, in.Community, Posts)
	if err != nil {
		return Record{}, err
	}
	person, err := s.cfg.Names.Person(ctx, in.Person)
	if err != nil {
		return Record{}, err
	}
	may, err := s.May(ctx, person.DID, community, Posts)
	if err != nil {
		return Record{}, err
	}
	if may || person.DID == community {
		return Record{}, fault.New(fault.Invalid, "Who looks after the community cannot be banned from it.").WithCode("InvalidSubject")
	}
	existing, err := s.bans(ctx, community, person.DID)
	if err != nil || len(existing) > 0 {
		return first(existing), err
	}
	return s.ban(ctx, actor.DID, community, person, in)
}

func (s *Service) ban(ctx context.Context, by, community syntax.DID, person index.Identity, in BanInput) (Record, error) {
	key, err := s.cfg.Agent.Key(ctx, community, in.Key, []byte("ban "+person.DID.String()))
	if err != nil {
		return Record{}, err
	}
	record := map[string]any{
		"$type": index.BanCollection.String(), "community": community.String(), "subject": person.DID.String(), "banType": "moderator",
		"reason": in.Reason, "bannedBy": by.String(), "status": "active", "createdAt": datetime(key.Time()),
	}
	if in.For > 0 {
		hours := int64((in.For + time.Hour - 1) / time.Hour)
		record["duration"], record["expiresAt"] = hours, datetime(key.Time().Add(time.Duration(hours)*time.Hour))
	}
	done, err := s.cfg.Records.Create(ctx, agent.Actor{DID: community}, agent.Write{
		Collection: index.BanCollection, RKey: syntax.RecordKey(key), Record: record}, person)
	if err != nil {
		return Record{}, err
	}
	err = s.cfg.DB.Tx(context.WithoutCancel(ctx), func(tx *store.Tx) error { return s.lookAgain(ctx, tx, community, person.DID) })
	return Record{URI: done.URI, CID: done.CID}, err
}

// first is the record of a ban that is there already.
func first(all []banRecord) Record {
	if len(all) == 0 {
		return Record{}
	}
	return Record{URI: all[0].place.URI(), CID: all[0].cid, Existing: true}
}

// banRecord is a ban in force.
type banRecord struct {
	place  pds.Place
	cid    syntax.CID
	record map[string]any
}

func (s *Service) bans(ctx context.Context, community, person syntax.DID) ([]banRecord, error) {
	all, err := s.cfg.Index.Bans(ctx, community, person)
	if err != nil {
		return nil, err
	}
	var out []banRecord
	for _, b := range all {
		if !b.InForce {
			continue
		}
		record, err := atdata.UnmarshalJSON(b.Record)
		if err != nil {
			return nil, fmt.Errorf("read ban %s of %s: %w", b.RKey, person, err)
		}
		cid, err := agent.RecordCID(record)
		if err != nil {
			return nil, err
		}
		out = append(out, banRecord{pds.Place{Repo: community, Collection: index.BanCollection, RKey: b.RKey}, cid, record})
	}
	return out, nil
}

// Unban ends every ban of a person; the records stay, and say so. Nobody to
// unban is success. What was removed stays removed. Errors: those of SetPolicy
// and of agent.Put.
func (s *Service) Unban(ctx context.Context, actor agent.Actor, text, person string) error {
	community, err := s.governed(ctx, actor.DID, text, Posts)
	if err != nil {
		return err
	}
	who, err := s.cfg.Names.gone(ctx, person, s.cfg.Names.Person)
	if err != nil {
		return err
	}
	bans, err := s.bans(ctx, community, who)
	if err != nil {
		return err
	}
	for _, b := range bans {
		b.record["status"] = "overturned"
		_, err := s.cfg.Records.Put(ctx, agent.Actor{DID: community}, agent.Put{
			Write: agent.Write{Collection: index.BanCollection, RKey: b.place.RKey, Record: b.record}, Swap: agent.SwapCID(b.cid)})
		if err != nil {
			return err
		}
	}
	return nil
}
