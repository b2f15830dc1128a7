package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

// everyState makes a session of each state and returns their ids by it.
func everyState(f *fixture) map[session.State]string {
	f.t.Helper()
	ids := map[session.State]string{}
	sign := func(state session.State, change func(*client.SessionData)) *client.SessionData {
		f.clock.advance(time.Second)
		data := f.newSession(alice)
		change(data)
		in := session.SignIn{Session: data, Handle: "someone.example", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0"}
		if _, err := f.SignIn(f.t.Context(), in); err != nil {
			f.t.Fatal(err)
		}
		ids[state] = data.ID
		return data
	}
	sign(session.StateLive, func(*client.SessionData) {})
	sign(session.StateExpiring, func(d *client.SessionData) { d.RefreshExpiresAt = f.clock.now().Add(6 * 24 * time.Hour) })
	sign(session.StatePaused, func(d *client.SessionData) { d.DID = bob })
	ended := sign(session.StateEnded, func(*client.SessionData) {})
	revoking := sign(session.StateRevoking, func(*client.SessionData) {})
	sign("far", func(d *client.SessionData) { d.RefreshExpiresAt = f.clock.now().Add(60 * 24 * time.Hour) })
	if err := errors.Join(
		f.AccountStatus(f.t.Context(), bob, session.Status{Word: "deactivated"}),
		f.Delete(f.t.Context(), ended.ID, client.ReasonRevoked),
		f.Revoke(f.t.Context(), revoking.ID),
	); err != nil {
		f.t.Fatal(err)
	}
	return ids
}

func TestOperatorsSeeSessionsByState(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		ids := everyState(f)
		name := map[string]string{}
		for state, id := range ids {
			name[id] = string(state)
		}
		for state, want := range map[session.State]string{
			"":                    "far revoking ended paused expiring live",
			session.StateLive:     "far expiring live",
			session.StateExpiring: "expiring", session.StatePaused: "paused",
			session.StateRevoking: "revoking", session.StateEnded: "ended",
		} {
			all, more, err := f.List(t.Context(), session.Query{State: state})
			var got []string
			for _, i := range all {
				got = append(got, name[i.ID])
			}
			if strings.Join(got, " ") != want || more || err != nil {
				t.Errorf("List(%q) = %v, %v, %v; want %s", state, got, more, err, want)
			}
		}
		if _, _, err := f.List(t.Context(), session.Query{State: "asleep"}); err == nil {
			t.Error("a state that there is not was listed")
		}
		all, more, err := f.List(t.Context(), session.Query{DID: alice, Limit: 2})
		if err != nil || len(all) != 2 || !more {
			t.Errorf("List of two = %d, %v, %v; want 2 and more", len(all), more, err)
		}
		all, _, err = f.List(t.Context(), session.Query{DID: bob, State: session.StatePaused})
		if err != nil || len(all) != 1 || all[0].Reason != client.ReasonDeactivated {
			t.Errorf("List of bob's paused = %+v, %v", all, err)
		}
	})
}

func TestOneSessionInDetail(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		ids := everyState(f)
		for state, want := range map[session.State]struct {
			state  session.State
			reason session.Reason
			handle string
		}{
			session.StateLive: {session.StateLive, "", "someone.example"}, "far": {session.StateLive, "", "someone.example"},
			session.StateExpiring: {session.StateExpiring, "", "someone.example"},
			session.StatePaused:   {session.StatePaused, client.ReasonDeactivated, "someone.example"},
			session.StateEnded:    {session.StateEnded, client.ReasonRevoked, ""},
			session.StateRevoking: {session.StateRevoking, session.ReasonOperator, ""},
		} {
			i, err := f.Info(t.Context(), ids[state])
			if err != nil || i.State != want.state || i.Reason != want.reason || i.Handle.String() != want.handle || i.Device != "Firefox on Linux" {
				t.Errorf("Info of %s = %+v, %v; want %+v", state, i, err, want)
			}
		}
		if _, err := f.Info(t.Context(), "never-was"); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("Info of nothing = %v, want ErrNotFound", err)
		}
		i, err := f.as("https://elsewhere.example.org/client.json").Info(t.Context(), ids[session.StateLive])
		if err != nil || i.State != session.StateUnusable || i.Reason != session.ReasonClient {
			t.Errorf("Info on an instance with another address = %s, %s, %v; want unusable", i.State, i.Reason, err)
		}
		app := f.newSession(alice)
		f.save(app)
		if i, err := f.Info(t.Context(), app.ID); err != nil || i.DeviceID != "" || i.Handle != "" {
			t.Errorf("Info of a session without a device = %+v, %v", i, err)
		}
	})
}

// The counts are right, and are taken from an index alone.
func TestSessionsAreCounted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		registry := prometheus.NewRegistry()
		meter, err := session.NewMeter(session.MeterConfig{Manager: f.Manager, Metrics: registry})
		if err != nil {
			t.Fatal(err)
		}
		everyState(f)
		counts, err := f.Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(counts, func(a, b session.Count) int { return strings.Compare(string(a.State), string(b.State)) })
		want := []session.Count{
			{State: session.StateEnded, Reason: client.ReasonRevoked, Sessions: 1}, {State: session.StateExpiring, Sessions: 1},
			{State: session.StateLive, Sessions: 2}, {State: session.StatePaused, Reason: client.ReasonDeactivated, Sessions: 1},
			{State: session.StateRevoking, Reason: session.ReasonOperator, Sessions: 1},
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		if err := meter.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := []string{
			"atoll_sessions reason= state=ended 0", "atoll_sessions reason= state=expiring 1",
			"atoll_sessions reason= state=live 2", "atoll_sessions reason= state=paused 0",
			"atoll_sessions reason= state=revoking 0", "atoll_sessions reason=deactivated state=paused 1",
			"atoll_sessions reason=operator state=revoking 1", "atoll_sessions reason=revoked state=ended 1",
			"atoll_sessions_ended_total reason=operator 1", "atoll_sessions_ended_total reason=revoked 1",
		}
		if diff := cmp.Diff(lines, gathered(t, registry)); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		if db.Engine() == store.SQLite {
			f.readsOnlyTheIndex()
		}
	})
}

// readsOnlyTheIndex asks SQLite how it would count.
func (f *fixture) readsOnlyTheIndex() {
	f.t.Helper()
	rows, err := f.db.Read().QueryContext(f.t.Context(), `EXPLAIN QUERY PLAN
SELECT state, ended_reason, paused, (refresh_expires_at > 0 AND refresh_expires_at <= 5), count(*) FROM oauth_session
GROUP BY state, ended_reason, paused, (refresh_expires_at > 0 AND refresh_expires_at <= 5)`)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var text string
		if err := rows.Scan(&id, &parent, &unused, &text); err != nil {
			f.t.Fatal(err)
		}
		plan = append(plan, text)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "USING COVERING INDEX oauth_session_counts") {
		f.t.Errorf("counting reads the rows:\n%s", text)
	}
}

// S24: neither a list nor a detail has a place for a secret.
func TestWhatOperatorsSeeHoldsNoSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	token, data := f.signIn(keyring.Secret{}, alice)
	i, err := f.Info(t.Context(), data.ID)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(cmp.Diff(session.Info{}, i))
	for _, secret := range []string{token.Reveal(), data.AccessToken, data.RefreshToken, "203.0.113.77"} {
		if strings.Contains(text, strings.ToLower(secret)) {
			t.Errorf("Info holds %q", secret)
		}
	}
}
