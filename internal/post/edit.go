package post

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/record"
)

// Change is a field of a request that keeps what is not sent.
type Change[T any] = record.Change[T]

// UpdateInput is what is to become of a post; limits are those of CreateInput.
// Facets belong to the text: where another text is sent without any, the old
// ones go.
type UpdateInput struct {
	// URI names the post, in either form.
	URI                   string
	Title, Content        Change[string]
	Facets, Embed, Labels Change[json.RawMessage]
	Langs, Tags           Change[[]string]
	// Swap is the version that the author has seen: when it is not the present
	// one, nothing is changed. Empty changes the present one, whichever it is.
	Swap syntax.CID
}

// Update changes a post of the actor's own. Errors for people are fault.Error:
// those of Create about the content, Invalid (InvalidRequest), NotFound
// (PostNotFound), Forbidden (NotAuthorized) for posts of others, Conflict
// (InvalidSwap) when there is another version than Swap, and those of agent.Put.
func (s *Service) Update(ctx context.Context, actor agent.Actor, in UpdateInput) (Created, error) {
	e := edit{collection: index.PostCollection, missing: "PostNotFound", check: draft.checkPost, swap: in.Swap}
	take(&e, "title", &e.said.title, in.Title)
	take(&e, "tags", &e.said.tags, in.Tags)
	e.common(in.Content, in.Facets, in.Embed, in.Labels, in.Langs)
	return s.edit(ctx, actor, in.URI, e)
}

// Delete removes a post of the actor's own; one that is not there any more is
// removed. Errors: Invalid (InvalidRequest), Forbidden (NotAuthorized), and those
// of agent.Delete.
func (s *Service) Delete(ctx context.Context, actor agent.Actor, uri string) error {
	return s.remove(ctx, actor, uri, index.PostCollection, "PostNotFound")
}

func (s *Service) remove(ctx context.Context, actor agent.Actor, uri string, collection syntax.NSID, missing string) error {
	key, err := s.own(ctx, actor.DID, uri, collection, missing)
	if err != nil {
		return err
	}
	return s.cfg.Records.Delete(ctx, actor, agent.Delete{Collection: collection, RKey: key})
}

// edit is a change of some fields of a record.
type edit struct {
	collection syntax.NSID
	missing    string // what it is called when there is no such record
	check      func(draft) error
	swap       syntax.CID

	said draft
	sent []string // names of fields
}

// take notes a field that was sent.
func take[T any](e *edit, name string, into *T, c Change[T]) {
	if c.Sent {
		e.sent = append(e.sent, name)
		*into = c.Value
	}
}

// common takes what posts and comments have alike.
func (e *edit) common(content Change[string], facets, embed, labels Change[json.RawMessage], langs Change[[]string]) {
	take(e, "content", &e.said.content, content)
	take(e, "facets", &e.said.facets, facets)
	take(e, "embed", &e.said.embed, embed)
	take(e, "labels", &e.said.labels, labels)
	take(e, "langs", &e.said.langs, langs)
}

// maxEdits is how often a change is made anew because somebody else was faster.
const maxEdits = 4

// edit reads a record, changes it and writes it back, as long as nobody has
// changed it in between.
func (s *Service) edit(ctx context.Context, actor agent.Actor, uri string, e edit) (Created, error) {
	key, err := s.own(ctx, actor.DID, uri, e.collection, e.missing)
	if err != nil {
		return Created{}, err
	}
	patch, err := e.patch(ctx, s)
	if err != nil {
		return Created{}, err
	}
	for try := 1; ; try++ {
		done, err := s.editOnce(ctx, actor, key, e, patch)
		if !isStale(err) || e.swap != "" || try == maxEdits {
			return done, err
		}
	}
}

// patch is what is sent as part of a record.
func (e *edit) patch(ctx context.Context, s *Service) (map[string]any, error) {
	var more map[string]any
	if e.collection == index.CommentCollection {
		more = map[string]any{"content": e.said.content} // comments always have one
	}
	fields, err := e.said.fields(e.collection, more)
	if err != nil {
		return nil, err
	}
	patch, err := atdata.UnmarshalJSON(fields)
	if err != nil {
		return nil, invalid(err, "This cannot be understood. Check facets, embed and labels.")
	}
	return patch, s.settleQuote(ctx, patch)
}

func (s *Service) editOnce(ctx context.Context, actor agent.Actor, key syntax.RecordKey, e edit, patch map[string]any) (Created, error) {
	is, err := s.cfg.Agent.Read(ctx, actor.DID, e.collection, key)
	if isMissing(err) {
		return Created{}, gone(e.missing, err)
	}
	if err != nil {
		return Created{}, err
	}
	put := agent.Put{Write: agent.Write{Collection: e.collection, RKey: key, Record: e.merged(is.Record, patch)}, Swap: agent.SwapCID(is.CID)}
	said, err := draftOf(put.Record)
	if err == nil {
		err = e.check(said)
	}
	if err != nil {
		return Created{}, err
	}
	cid, err := agent.RecordCID(put.Record)
	switch {
	case err != nil:
		return Created{}, err
	case cid == is.CID: // also when this very request came before
		return Created{URI: recordAt(actor.DID, e.collection, key), CID: cid}, nil
	case e.swap != "" && e.swap != is.CID:
		return Created{}, fault.New(fault.Conflict, "This was changed elsewhere in the meantime. Look at it again, and then decide.").WithCode("InvalidSwap")
	}
	done, err := s.cfg.Records.Put(ctx, actor, put)
	return Created{URI: done.URI, CID: done.CID}, unfit(err)
}

// merged is the record with what was sent instead of what was there.
func (e *edit) merged(is, patch map[string]any) map[string]any {
	out := maps.Clone(is)
	if slices.Contains(e.sent, "content") && patch["content"] != is["content"] {
		delete(out, "facets")
	}
	for _, name := range e.sent {
		if value, ok := patch[name]; ok {
			out[name] = value
		} else {
			delete(out, name)
		}
	}
	return out
}

// draftOf is what a record says.
func draftOf(record map[string]any) (draft, error) {
	raw, err := json.Marshal(record)
	if err != nil {
		return draft{}, fmt.Errorf("encode record: %w", err)
	}
	var d struct {
		Title   string          `json:"title"`
		Content string          `json:"content"`
		Facets  json.RawMessage `json:"facets"`
		Embed   json.RawMessage `json:"embed"`
		Labels  json.RawMessage `json:"labels"`
		Langs   []string        `json:"langs"`
		Tags    []string        `json:"tags"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return draft{}, invalid(err, "What is there now does not fit its form. Delete it and write it anew.")
	}
	return draft{title: d.Title, content: d.Content, facets: d.Facets, embed: d.Embed, labels: d.Labels, langs: d.Langs, tags: d.Tags}, nil
}

// isStale reports that somebody else has changed a record before us.
func isStale(err error) bool {
	var known *agent.Error
	return errors.As(err, &known) && known.Kind == agent.Stale
}
