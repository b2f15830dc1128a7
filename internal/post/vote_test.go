package post

import (
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func (v *village) votes(t *testing.T, subject Ref) []index.Vote {
	t.Helper()
	return must(v.index.VotesOf(t.Context(), alice, syntax.ATURI(subject.URI)))(t)
}

// TestVote holds C8: up, again, down, up, in whichever form the subject is named.
func TestVote(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	post := v.accepted(t, bob, 1)
	older := Ref{legacy(1), post.CID}
	comment := v.comment(t, bob, 2, post, post)
	own := v.post(t, alice, 5)
	handle := Ref{"at://alice.example.com/social.coves.community.postv2/" + string(key(5)), own.CID}
	for subject, is := range map[Ref]Ref{post: post, comment: comment, older: post, handle: own} {
		for i, step := range []struct {
			in    Ref
			up    bool
			there bool
		}{{subject, true, true}, {subject, true, false}, {subject, false, true}, {subject, true, true}, {subject, false, true}} {
			got, err := v.Vote(t.Context(), actor, VoteInput{Subject: step.in, Up: step.up})
			if err != nil {
				t.Fatal(err)
			}
			votes := v.votes(t, is)
			if (got.URI != "") != step.there || (got.CID != "") != step.there || (len(votes) == 1) != step.there || len(votes) > 1 {
				t.Errorf("%s, step %d: %+v, votes %v", subject.URI, i, got, votes)
			}
			if step.there && (votes[0].URI != got.URI || votes[0].Up != step.up) {
				t.Errorf("%s, step %d: %+v, votes %v", subject.URI, i, got, votes)
			}
		}
		if err := v.Withdraw(t.Context(), actor, subject.URI); err != nil || len(v.votes(t, is)) != 0 {
			t.Errorf("%s: taken back: %v, votes %v", subject.URI, err, v.votes(t, is))
		}
		refused(t, "a vote that is taken back already", v.Withdraw(t.Context(), actor, subject.URI), fault.NotFound, "VoteNotFound")
	}
	for _, w := range v.desk.done {
		if subject, _ := w.Record["subject"].(map[string]any); subject["uri"] == older.URI || subject["uri"] == handle.URI {
			t.Errorf("voted on %v, want its own URI", subject)
		}
	}
}

// TestBadVotes holds that nothing is written for what cannot be voted on.
func TestBadVotes(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	post, removed := v.post(t, bob, 1), v.post(t, bob, 2)
	below := v.comment(t, bob, 3, removed, removed)
	v.gone(t, removed)
	at := func(collection syntax.NSID) string { return recordAt(bob, collection, key(9)).String() }
	tests := []struct {
		name, uri, cid, code string
	}{
		{"nothing", "", "", "InvalidSubject"},
		{"a page", "https://example.com", someCID, "InvalidSubject"},
		{"an account", "at://" + string(bob), someCID, "InvalidSubject"},
		{"a fragment", post.URI + "#x", post.CID, "InvalidSubject"},
		{"no CID", post.URI, "", "InvalidSubject"},
		{"nonsense for a CID", post.URI, "bafy", "InvalidSubject"},
		{"a profile", at(index.PersonCollection), someCID, "InvalidSubject"},
		{"a post of Bluesky", at(blueskyPost), someCID, "InvalidSubject"},
		{"a post that is not known", at(index.PostCollection), someCID, "PostNotFound"},
		{"a comment that is not known", at(index.CommentCollection), someCID, "CommentNotFound"},
		{"the older form of nothing", legacy(9), someCID, "PostNotFound"},
		{"a post that is deleted", removed.URI, removed.CID, "PostNotFound"},
		{"a comment below it", below.URI, below.CID, "CommentNotFound"},
		{"an account that there is not", "at://nobody.example.com/" + string(index.PostCollection) + "/" + string(key(1)), someCID, "ProfileNotFound"},
	}
	for _, tt := range tests {
		_, err := v.Vote(t.Context(), actor, VoteInput{Subject: Ref{tt.uri, tt.cid}, Up: true})
		kind := map[bool]fault.Kind{true: fault.Invalid, false: fault.NotFound}[tt.code == "InvalidSubject"]
		refused(t, tt.name, err, kind, tt.code)
		if err := v.Withdraw(t.Context(), actor, tt.uri); err == nil {
			t.Errorf("%s: taken back", tt.name)
		}
	}
	v.desk.untouched(t)
}

// TestVotesAreRepeatable holds that a request with a key does the same, once,
// however often and whenever it comes again, in any process.
func TestVotesAreRepeatable(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := &village{desk: newDesk(), db: db}
		v.Service, v.index = newService(t, db, v.desk, people{})
		subject := v.post(t, bob, 1)
		cast := func(key string, up bool) Created {
			t.Helper()
			return must(v.Vote(t.Context(), actor, VoteInput{Subject: subject, Up: up, Key: key}))(t)
		}
		first := cast("one", true)
		if first.URI == "" || cast("one", true) != first || len(v.votes(t, subject)) != 1 {
			t.Fatalf("the same request twice: %v", v.votes(t, subject))
		}
		if got := cast("two", true); got != (Created{}) || len(v.votes(t, subject)) != 0 {
			t.Errorf("taken back: %+v", got)
		}
		done, removed := len(v.desk.done), len(v.desk.removed)
		if cast("two", true) != (Created{}) || cast("one", true) != first || len(v.votes(t, subject)) != 0 {
			t.Errorf("late repetitions changed something: %v", v.votes(t, subject))
		}
		if len(v.desk.done) != done || len(v.desk.removed) != removed {
			t.Error("late repetitions wrote something")
		}
		// A request that failed half-way goes on where it was.
		v.desk.answer = func(w agent.Write) (agent.Done, error) {
			v.desk.answer = nil
			return agent.Done{}, fault.New(fault.Unavailable, "Your server does not answer.")
		}
		if _, err := v.Vote(t.Context(), actor, VoteInput{Subject: subject, Key: "three"}); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("got %v", err)
		}
		if got := cast("three", false); got.URI == "" || len(v.votes(t, subject)) != 1 || v.votes(t, subject)[0].Up {
			t.Errorf("%+v, %v", got, v.votes(t, subject))
		}
	})
}

// TestTurns holds that one request at a time has the turn, that a turn which
// nobody gave back ends, and that whoever lost it writes no more.
func TestTurns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		s, _ := newService(t, db, newDesk(), people{})
		s.cfg.Now = func() time.Time { return now }
		const subject = syntax.ATURI("at://did:plc:bobaaaaaaaaaaaaaaaaaaaaa/social.coves.community.postv2/2222222222222")
		first := must(s.turn(t.Context(), alice, subject))(t)
		must(s.turn(t.Context(), bob, subject))(t) // others don't wait
		second := &turn{s: s, did: alice, subject: first.subject, owner: "second"}
		if mine := must(second.take(t.Context()))(t); mine {
			t.Error("two have the turn")
		}
		now = now.Add(turnLife - time.Second)
		if err := first.prolong(t.Context()); err != nil {
			t.Error(err)
		}
		now = now.Add(turnLife - time.Second)
		if mine := must(second.take(t.Context()))(t); mine {
			t.Error("a turn ended that was prolonged")
		}
		now = now.Add(2 * time.Second)
		if mine := must(second.take(t.Context()))(t); !mine {
			t.Error("a turn that nobody prolongs goes on")
		}
		if err := first.prolong(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("who lost the turn goes on: %v", err)
		}
		first.end(t.Context())
		if err := second.prolong(t.Context()); err != nil {
			t.Errorf("who lost the turn has ended another's: %v", err)
		}
		second.end(t.Context())
		must(s.turn(t.Context(), alice, subject))(t)
	})
}

// TestOldVotesStayQuietly holds that a vote counts although the one before it
// could not be removed: the greatest key decides.
func TestOldVotesStayQuietly(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	subject := v.post(t, bob, 1)
	must(v.Vote(t.Context(), actor, VoteInput{Subject: subject, Up: true}))(t)
	v.desk.stuck = errors.New("no answer")
	got, err := v.Vote(t.Context(), actor, VoteInput{Subject: subject})
	if votes := v.votes(t, subject); err != nil || len(votes) != 2 || votes[0].URI != got.URI || votes[0].Up {
		t.Errorf("%v, %v", err, votes)
	}
	v.desk.stuck = nil
	if _, err := v.Vote(t.Context(), actor, VoteInput{Subject: subject}); err != nil || len(v.votes(t, subject)) != 0 {
		t.Errorf("taken back: %v, %v", err, v.votes(t, subject))
	}
}
