package community

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// People of these tests: alice made the garden; these post there.
var (
	guest  = agent.Actor{DID: kitchen}
	member = agent.Actor{DID: cellar}
)

// write writes a post into its author's repository; again under the same key,
// it is an edit.
func (v *village) write(t *testing.T, who agent.Actor, community syntax.DID, key syntax.RecordKey, text string) (syntax.ATURI, syntax.CID) {
	t.Helper()
	if key == "" {
		tid, err := v.repos.Key(t.Context(), who.DID, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		key = syntax.RecordKey(tid)
	}
	done, err := v.cfg.Records.Put(t.Context(), who, agent.Put{Write: agent.Write{Collection: index.PostCollection, RKey: key,
		Record: map[string]any{"$type": string(index.PostCollection), "community": string(community), "title": text,
			"createdAt": "2026-01-02T03:04:05Z"}}})
	if err != nil {
		t.Fatal(err)
	}
	return done.URI, done.CID
}

// stands tells the state of a post, and what it waits for or why it was removed.
func (v *village) stands(t *testing.T, post syntax.ATURI) string {
	t.Helper()
	standing, ok, err := v.index.Standing(t.Context(), post)
	if err != nil || !ok {
		t.Fatalf("%s: %t, %v", post, ok, err)
	}
	text := standing.State.String()
	if standing.Removal != nil {
		text += " " + standing.Removal.Code
	}
	waiting, err := v.WaitingPosts(t.Context(), actor, string(garden), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range waiting {
		if w.Post == post {
			text += " waits for " + string(w.Why)
		}
	}
	return text
}

// expect fails unless a post stands as said.
func (v *village) expect(t *testing.T, what string, post syntax.ATURI, want string) {
	t.Helper()
	v.work(t)
	if got := v.stands(t, post); got != want {
		t.Errorf("%s: the post is %q, want %q", what, got, want)
	}
}

func eachVillage(t *testing.T, p Policy, run func(t *testing.T, v *village)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		v.settle(t)
		if err := v.SetPolicy(t.Context(), actor, string(garden), p); err != nil {
			t.Fatal(err)
		}
		v.work(t)
		run(t, v)
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOpen holds C6 where everybody may post: what comes in is accepted in its
// version, under the key that follows from it, once; a change is, too.
func TestOpen(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Open}, func(t *testing.T, v *village) {
		post, cid := v.write(t, guest, garden, "", "hello")
		v.expect(t, "a guest's", post, "accepted")
		acceptance := map[syntax.RecordKey]map[string]any{index.AdmissionKey(post): {
			"$type": string(index.AcceptanceCollection), "createdAt": "2026-05-06T07:08:09.000Z",
			"subject": map[string]any{"uri": post.String(), "cid": cid.String()},
		}}
		if diff := cmp.Diff(acceptance, v.repos.in(garden, index.AcceptanceCollection)); diff != "" {
			t.Errorf("acceptances (-want +got):\n%s", diff)
		}
		before := len(v.repos.writes)
		check(t, v.sweep(t.Context(), garden, false))
		check(t, v.db.Tx(t.Context(), func(tx *store.Tx) error {
			return v.decideSoon(t.Context(), tx, deciding{garden, guest.DID, post.RecordKey()}, 0)
		}))
		v.expect(t, "decided again", post, "accepted")
		if len(v.repos.writes) != before {
			t.Errorf("deciding again wrote %v", v.repos.writes[before:])
		}
		_, edited := v.write(t, guest, garden, post.RecordKey(), "hello again")
		v.expect(t, "an edit", post, "accepted")
		if standing, _, err := v.index.Standing(t.Context(), post); err != nil || standing.Accepted != edited {
			t.Errorf("the edit is accepted as %s, want %s (%v)", standing.Accepted, edited, err)
		}
		status, err := v.PostStatus(t.Context(), post)
		want := Status{State: index.Accepted, Policy: &Policy{Admission: Open},
			Acceptance: pds.Place{Repo: garden, Collection: index.AcceptanceCollection, RKey: index.AdmissionKey(post)}.URI()}
		if diff := cmp.Diff(want, status); diff != "" || err != nil {
			t.Errorf("status %v (-want +got):\n%s", err, diff)
		}
	})
}

// TestMembers holds C6 for members only: others wait, and are let in when they
// subscribe, here or anywhere.
func TestMembers(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Members}, func(t *testing.T, v *village) {
		_, err := v.Subscribe(t.Context(), member, string(garden), nil)
		check(t, err)
		first, _ := v.write(t, member, garden, "", "from a member")
		v.expect(t, "a member's", first, "accepted")
		second, _ := v.write(t, guest, garden, "", "from a guest")
		v.expect(t, "a guest's", second, "pending waits for member")
		own, _ := v.write(t, actor, garden, "", "from the creator")
		v.expect(t, "the creator's", own, "accepted")
		_, err = v.Subscribe(t.Context(), guest, string(garden), nil)
		check(t, err)
		v.expect(t, "a guest's who subscribed", second, "accepted")

		// Somebody who subscribes at their own server is noticed a little later.
		third, _ := v.write(t, agent.Actor{DID: crook}, garden, "", "from another guest")
		v.expect(t, "another guest's", third, "pending waits for member")
		put(t, v.db, v.index, crook, index.SubscriptionCollection, syntax.RecordKey(syntax.NewTIDNow(3)),
			map[string]any{"$type": string(index.SubscriptionCollection), "subject": string(garden), "createdAt": "2026-01-02T03:04:05Z"})
		v.cfg.Now = func() time.Time { return time.Now().Add(2 * sweepEvery) }
		check(t, v.sweep(t.Context(), garden, false))
		v.expect(t, "after a while", third, "accepted")
	})
}

// TestApproval holds C6 for communities by approval.
func TestApproval(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Approval, ReviewEdits: true}, func(t *testing.T, v *village) {
		post, cid := v.write(t, guest, garden, "", "please")
		v.expect(t, "a guest's", post, "pending waits for approval")
		if got := code(v.Approve(t.Context(), guest, post, cid, false)); got != "forbidden NotAuthorized" {
			t.Errorf("approved by its author: %s", got)
		}
		_, edited := v.write(t, guest, garden, post.RecordKey(), "something else")
		if got := code(v.Approve(t.Context(), actor, post, cid, false)); got != "conflict Conflict" {
			t.Errorf("a version that is gone: %s", got)
		}
		check(t, v.Approve(t.Context(), actor, post, edited, false))
		v.expect(t, "approved", post, "accepted")
		_, third := v.write(t, guest, garden, post.RecordKey(), "changed after that")
		v.expect(t, "an edit", post, "pending_reacceptance waits for edit")
		check(t, v.Approve(t.Context(), actor, post, third, true))
		v.expect(t, "the edit approved", post, "accepted")
		next, _ := v.write(t, guest, garden, "", "from somebody approved")
		v.expect(t, "the next one", next, "accepted")
		check(t, v.DisapprovePerson(t.Context(), actor, string(garden), string(guest.DID)))
		last, _ := v.write(t, guest, garden, "", "from nobody")
		v.expect(t, "taken back", last, "pending waits for approval")
		check(t, v.ApprovePerson(t.Context(), actor, string(garden), string(guest.DID)))
		v.expect(t, "approved for good", last, "accepted")
	})
}

// TestApprovedWhileItChanges holds that a moderator's word is for the version
// that they saw, also when another comes before it is carried out.
func TestApprovedWhileItChanges(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Approval}, func(t *testing.T, v *village) {
		post, cid := v.write(t, guest, garden, "", "harmless")
		v.work(t)
		check(t, v.Approve(t.Context(), actor, post, cid, false))
		v.write(t, guest, garden, post.RecordKey(), "harmful")
		v.expect(t, "changed meanwhile", post, "pending waits for approval")
		if n := len(v.repos.in(garden, index.AcceptanceCollection)); n != 0 {
			t.Errorf("%d acceptances", n)
		}
	})
}

// TestMemberMeanwhile holds that nobody is overlooked who is let in between the
// look at them and the note that their post waits.
func TestMemberMeanwhile(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Approval}, func(t *testing.T, v *village) {
		for i := range 20 {
			who := agent.Actor{DID: syntax.DID(made + strings.Repeat(string(rune('a'+i)), 20))}
			post, _ := v.write(t, who, garden, "", "please")
			approved := make(chan error)
			go func() { approved <- v.ApprovePerson(t.Context(), actor, string(garden), string(who.DID)) }()
			v.work(t)
			check(t, <-approved)
			v.expect(t, "approved at the same time", post, "accepted")
		}
	})
}

// TestPolicyChanges holds that a change of policy is for what waits, too.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Approval}, func(t *testing.T, v *village) {
		post, _ := v.write(t, guest, garden, "", "please")
		v.expect(t, "by approval", post, "pending waits for approval")
		check(t, v.SetPolicy(t.Context(), actor, string(garden), Policy{Admission: Members}))
		v.expect(t, "members only", post, "pending waits for member")
		check(t, v.SetPolicy(t.Context(), actor, string(garden), Policy{Admission: Open}))
		v.expect(t, "open", post, "accepted")
		for p, want := range map[Policy]string{
			{Admission: "maybe"}: "invalid InvalidRequest", {}: "invalid InvalidRequest",
		} {
			if got := code(v.SetPolicy(t.Context(), actor, string(garden), p)); got != want {
				t.Errorf("%+v: %s, want %s", p, got, want)
			}
		}
		if got := code(v.SetPolicy(t.Context(), guest, string(garden), Policy{Admission: Open})); got != "forbidden NotAuthorized" {
			t.Errorf("by a guest: %s", got)
		}
		if got := code(v.SetPolicy(t.Context(), actor, string(kitchen), Policy{Admission: Open})); got != "forbidden NotAuthorized" {
			t.Errorf("of another server's community: %s", got)
		}
	})
}

// TestBan holds C6's bans: before, during and after a post was pending.
func TestBan(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Approval}, func(t *testing.T, v *village) {
		pending, _ := v.write(t, guest, garden, "", "before")
		v.expect(t, "before", pending, "pending waits for approval")
		in := BanInput{Community: "!garden@atoll.example.com", Person: string(guest.DID), Reason: "rude", For: 90 * time.Minute}
		if got := func() string { _, err := v.Ban(t.Context(), guest, in); return code(err) }(); got != "forbidden NotAuthorized" {
			t.Errorf("by a guest: %s", got)
		}
		banned, err := v.Ban(t.Context(), actor, in)
		check(t, err)
		again, err := v.Ban(t.Context(), actor, in)
		if err != nil || again.URI != banned.URI || again.CID != banned.CID || !again.Existing {
			t.Errorf("again: %+v, %v", again, err)
		}
		record := v.repos.in(garden, index.BanCollection)[banned.URI.RecordKey()]
		if record["duration"] != int64(2) || record["subject"] != string(guest.DID) || record["bannedBy"] != string(alice) {
			t.Errorf("record %v", record)
		}
		v.expect(t, "pending when banned", pending, "removed author-banned")
		after, _ := v.write(t, guest, garden, "", "after")
		v.expect(t, "after", after, "removed author-banned")
		check(t, v.Unban(t.Context(), actor, string(garden), string(guest.DID)))
		check(t, v.Unban(t.Context(), actor, string(garden), string(guest.DID)))
		v.expect(t, "removed stays removed", after, "removed author-banned")
		free, _ := v.write(t, guest, garden, "", "free again")
		v.expect(t, "free again", free, "pending waits for approval")
		for _, tt := range []struct {
			change func(*BanInput)
			want   string
		}{
			{func(in *BanInput) { in.Reason = "" }, "invalid InvalidRequest"},
			{func(in *BanInput) { in.For = -1 }, "invalid InvalidRequest"},
			{func(in *BanInput) { in.Person = "alice.example.com" }, "invalid InvalidSubject"},
			{func(in *BanInput) { in.Person = "nobody.example.com" }, "not found ProfileNotFound"},
			{func(in *BanInput) { in.Community = string(kitchen) }, "forbidden NotAuthorized"},
		} {
			bad := in
			tt.change(&bad)
			if _, err := v.Ban(t.Context(), actor, bad); code(err) != tt.want {
				t.Errorf("%+v: %v, want %s", bad, err, tt.want)
			}
		}
	})
}

// TestReject holds that a removal is public with its code, takes the acceptance
// away, holds for later versions, and can be taken back.
func TestReject(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Open}, func(t *testing.T, v *village) {
		post, _ := v.write(t, guest, garden, "", "buy this")
		v.expect(t, "open", post, "accepted")
		check(t, v.Reject(t.Context(), actor, post, "spam", "Third time."))
		v.expect(t, "rejected", post, "removed spam")
		if n := len(v.repos.in(garden, index.AcceptanceCollection)); n != 0 {
			t.Errorf("%d acceptances left", n)
		}
		removal := v.repos.in(garden, index.RemovalCollection)[index.AdmissionKey(post)]
		if removal["reason"] != "Third time." || removal["code"] != "spam" {
			t.Errorf("removal %v", removal)
		}
		_, cid := v.write(t, guest, garden, post.RecordKey(), "buy that")
		v.expect(t, "changed", post, "removed spam")
		check(t, v.Approve(t.Context(), actor, post, cid, false))
		v.expect(t, "taken back", post, "accepted")
		for _, tt := range []struct{ post, code, reason, want string }{
			{post.String(), "", "", "invalid InvalidRequest"},
			{post.String(), fmt.Sprintf("%065d", 1), "", "invalid InvalidRequest"},
			{post.String(), "spam", fmt.Sprintf("%01001d", 1), "invalid ContentTooLong"},
			{"at://" + string(alice) + "/social.coves.community.postv2/3jzfcijpj2z2a", "spam", "", "not found PostNotFound"},
			{"at://nonsense", "spam", "", "not found PostNotFound"},
		} {
			if got := code(v.Reject(t.Context(), actor, syntax.ATURI(tt.post), tt.code, tt.reason)); got != tt.want {
				t.Errorf("%+v: %s", tt, got)
			}
		}
		if got := code(v.Reject(t.Context(), guest, post, "spam", "")); got != "forbidden NotAuthorized" {
			t.Errorf("by its author: %s", got)
		}
	})
}

// TestElsewhere holds that this instance decides for communities that it hosts,
// and only reads of others, whatever their profile says.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		v.settle(t)
		put(t, db, v.index, crook, index.CommunityCollection, "self", profileRecord(string(own), "beer")) // it is not
		put(t, db, v.index, cellar, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "wine"))
		v.write(t, guest, crook, "", "to a crook")
		v.write(t, guest, cellar, "", "to another server")
		v.work(t)
		v.do(t, job.Insert{Kind: sweepJob})
		v.work(t)
		for _, community := range []syntax.DID{crook, cellar} {
			if n := len(v.repos.in(community, index.AcceptanceCollection)); n != 0 {
				t.Errorf("%s: %d acceptances", community, n)
			}
		}
		// A post that moves from here to there is nobody's business here.
		post, _ := v.write(t, guest, garden, "", "moves")
		v.write(t, guest, cellar, post.RecordKey(), "moved")
		v.work(t)
		if n := len(v.repos.in(garden, index.AcceptanceCollection)); n != 0 {
			t.Errorf("%d acceptances of a post that has gone", n)
		}
		// The other way round it is.
		v.write(t, guest, garden, post.RecordKey(), "back")
		v.expect(t, "moved here", post, "accepted")
	})
}
