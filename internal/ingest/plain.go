package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/plain"
)

// flatFrame is a frame of Jetstream's first version.
type flatFrame struct {
	DID     string            `json:"did"`
	TimeUS  int64             `json:"time_us"`
	Kind    string            `json:"kind"`
	Commit  *flatCommit       `json:"commit"`
	Account *jetstreamAccount `json:"account"`
}

// event checks what a frame says. Its time is not later than now.
func (f flatFrame) event(now time.Time) (event, error) {
	at := min(f.TimeUS, now.UnixMicro())
	if at <= 0 {
		return event{}, dropped(reasonFrame, errors.New("no time"))
	}
	return flatEvent(event{seq: at, time: time.UnixMicro(at)}, f.DID, f.Kind, f.Commit, f.Account)
}

// readFlat reads a frame with a commit as hosts write them. What it says no to
// may be fine all the same, and is to be decoded. Nothing of it is kept.
func readFlat(frame []byte) (f flatFrame, ok bool) {
	var time, commit bool
	s := plain.New(frame)
	ok = utf8.Valid(frame) && s.Object(func(key []byte) (ok bool) {
		switch string(key) {
		case "did":
			return readText(s, &f.DID)
		case "kind":
			return readWord(s, &f.Kind) && f.Kind == "commit"
		case "time_us":
			twice := time
			time = true
			f.TimeUS, ok = s.Integer()
			return ok && !twice
		case "commit":
			twice := commit
			commit = true
			f.Commit, ok = readFlatCommit(s)
			return ok && !twice
		}
		return false
	})
	return f, ok && s.End() && commit && f.Kind != ""
}

func readFlatCommit(s *plain.Scanner) (*flatCommit, bool) {
	c := &flatCommit{}
	ok := s.Object(func(key []byte) bool {
		switch string(key) {
		case "rev":
			return readText(s, &c.Rev)
		case "operation":
			return readWord(s, &c.Operation)
		case "collection":
			return readWord(s, &c.Collection)
		case "rkey":
			return readText(s, &c.RKey)
		case "cid":
			return readText(s, &c.CID)
		case "record":
			raw, ok := s.Value()
			if !ok || c.Record != nil {
				return false
			}
			c.Record = json.RawMessage(bytes.Clone(raw))
			return true
		}
		return false
	})
	return c, ok
}

// readText reads a field that is not empty and comes once.
func readText(s *plain.Scanner, into *string) bool {
	if *into != "" {
		return false
	}
	text, ok := s.Text()
	*into = string(text)
	return ok && len(text) > 0
}

// readWord is readText for what is nearly always one of a few words, which then
// needs no room of its own.
func readWord(s *plain.Scanner, into *string) bool {
	if *into != "" {
		return false
	}
	text, ok := s.Text()
	switch string(text) {
	case "commit":
		*into = "commit"
	case "create":
		*into = "create"
	case string(index.VoteCollection):
		*into = string(index.VoteCollection)
	case string(index.CommentCollection):
		*into = string(index.CommentCollection)
	case string(index.SubscriptionCollection):
		*into = string(index.SubscriptionCollection)
	case string(index.PostCollection):
		*into = string(index.PostCollection)
	default:
		*into = string(text)
	}
	return ok && len(text) > 0
}
