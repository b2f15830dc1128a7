package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
)

// refuseRefresh lets the token endpoint refuse with these words.
func refuseRefresh(f *fixture, code, description string) {
	f.net.Override(tokenURL, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("DPoP-Nonce", "x")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
	})
}

// TestEndingsHaveReasons: what ends a session, and as what (S32, S34, S38, S40).
func TestEndingsHaveReasons(t *testing.T) {
	t.Parallel()
	refused := func(description string) func(*testing.T, *fixture, string) {
		return func(_ *testing.T, f *fixture, _ string) { refuseRefresh(f, "invalid_grant", description) }
	}
	gone := func(status string) func(*testing.T, *fixture, string) {
		return func(_ *testing.T, f *fixture, _ string) { f.net.EndSessions(); f.net.SetStatus(hostile.Alice, status) }
	}
	for name, c := range map[string]struct {
		happens func(t *testing.T, f *fixture, id string)
		want    client.Reason
		is      error
		revokes int // at the issuer
	}{
		"revoked at the server":  {func(_ *testing.T, f *fixture, _ string) { f.net.EndSessions() }, client.ReasonRevoked, client.ErrRevoked, 0},
		"in unknown words":       {refused("computer says no"), client.ReasonRevoked, client.ErrRevoked, 0},
		"in no words":            {refused(""), client.ReasonRevoked, client.ErrRevoked, 0},
		"session over":           {refused("Session expired"), client.ReasonExpired, client.ErrTokenExpired, 0},
		"refresh token over":     {refused("Refresh token expired"), client.ReasonExpired, client.ErrTokenExpired, 0},
		"replayed":               {refused("Refresh token replayed"), client.ReasonReplayed, client.ErrEnded, 0},
		"pinned to another key":  {refused("The session was initiated with a different key than the client assertion currently used"), client.ReasonKeyWithdrawn, client.ErrKeyWithdrawn, 0},
		"deactivated, in words":  {refused("Account is deactivated"), client.ReasonDeactivated, client.ErrDeactivated, 0},
		"taken down, in words":   {refused("Account has been taken down"), client.ReasonTakenDown, client.ErrTakenDown, 0},
		"suspended, in words":    {refused("account suspended"), client.ReasonSuspended, client.ErrTakenDown, 0},
		"deactivated, by status": {gone("deactivated"), client.ReasonDeactivated, client.ErrDeactivated, 0},
		"suspended, by status":   {gone("suspended"), client.ReasonSuspended, client.ErrTakenDown, 0},
		"taken down, by status":  {gone("takendown"), client.ReasonTakenDown, client.ErrTakenDown, 0},
		"deleted, by status":     {gone("deleted"), client.ReasonDeleted, client.ErrAccountGone, 0},
		"past its known end": {func(t *testing.T, f *fixture, id string) {
			f.edit(t, id, func(d *client.SessionData) { d.RefreshExpiresAt = time.Now().Add(-time.Hour) })
			f.net.EndSessions()
		}, client.ReasonExpired, client.ErrTokenExpired, 0},
		"without a refresh token": {func(t *testing.T, f *fixture, id string) {
			f.edit(t, id, func(d *client.SessionData) { d.RefreshToken = "" })
		}, client.ReasonExpired, client.ErrTokenExpired, 0},
		"moved to another issuer": {func(_ *testing.T, f *fixture, _ string) {
			f.net.Move(hostile.Alice, hostile.Elsewhere)
		}, client.ReasonMoved, client.ErrEnded, 2},
		"answered for somebody else": {func(_ *testing.T, f *fixture, _ string) {
			f.net.Tweak.Token = with("sub", hostile.Bob.String())
		}, client.ReasonSubject, client.ErrWrongSubject, 2},
		"answered for nobody":   {func(_ *testing.T, f *fixture, _ string) { f.net.Tweak.Token = without("sub") }, client.ReasonSubject, client.ErrWrongSubject, 2},
		"answered with Bearer":  {func(_ *testing.T, f *fixture, _ string) { f.net.Tweak.Token = with("token_type", "Bearer") }, client.ReasonLost, client.ErrTokenType, 2},
		"answered sans atproto": {func(_ *testing.T, f *fixture, _ string) { f.net.Tweak.Token = with("scope", "repo:a.b.c") }, client.ReasonLost, client.ErrNoAtproto, 2},
		"a token of 20 kB": {func(_ *testing.T, f *fixture, _ string) {
			f.net.Tweak.Token = with("refresh_token", strings.Repeat("x", 20_000))
		}, client.ReasonLost, client.ErrTokenResponse, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.expire(t, id)
				c.happens(t, f, id)
				atPDS := f.net.SeenAt(hostile.Elsewhere)
				err := call(t.Context(), f.Client, id)
				var ended *client.EndedError
				if !errors.As(err, &ended) || !errors.Is(err, client.ErrEnded) || ended.Reason != c.want || !errors.Is(err, c.is) || client.Temporary(err) {
					t.Fatalf("call = %v, want an end as %s, %v", err, c.want, c.is)
				}
				if why, ok := f.sessions.Ended(id); why != c.want || !ok || f.sessions.Len() != 0 {
					t.Errorf("stored: %q, %d sessions; want %q and none", why, f.sessions.Len(), c.want)
				}
				if got := len(f.net.Revoked()); got != c.revokes {
					t.Errorf("%d tokens revoked, want %d", got, c.revokes)
				}
				if c.want == client.ReasonMoved && (f.net.Rotations() != 0 || f.net.SeenAt(hostile.Elsewhere) != atPDS+1) {
					t.Error("more than a look at the new host's metadata happened")
				}
				if err := call(t.Context(), f.Client, id); !errors.Is(err, client.ErrNotFound) {
					t.Errorf("next call = %v, want ErrNotFound", err)
				}
			})
		})
	}
}

// TestRevocationIsNoticedAtTheNextUse: S34, with a token that seems alive.
func TestRevocationIsNoticedAtTheNextUse(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		f.net.EndSessions()
		if err := use(t.Context(), s); !errors.Is(err, client.ErrEnded) || !errors.Is(err, client.ErrRevoked) {
			t.Errorf("use = %v, want an end as revoked", err)
		}
		if why, _ := f.sessions.Ended(s.Data().ID); why != client.ReasonRevoked {
			t.Errorf("ended as %q, want revoked", why)
		}
	})
}

// TestRefusedTokensAreReadAgain: S32. Somebody without manners, who takes no
// lease, has refreshed meanwhile.
func TestRefusedTokensAreReadAgain(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		f.net.Override(tokenURL, func(w http.ResponseWriter, _ *http.Request) {
			f.edit(t, id, func(d *client.SessionData) {
				d.AccessToken, d.RefreshToken, d.AccessExpiresAt, d.RefreshedAt = "access-new", "refresh-new", time.Now().Add(time.Hour), time.Now()
			})
			hostile.JSON(w, 400, map[string]string{"error": "invalid_grant", "error_description": "Refresh token replayed"})
		})
		d, err := f.Refresh(t.Context(), id)
		if err != nil || d.AccessToken != "access-new" || f.sessions.Len() != 1 {
			t.Errorf("Refresh = %v, want what is stored by now", err)
		}
	})
}

// TestAWithdrawnKeyEndsNothing: it may come back.
func TestAWithdrawnKeyEndsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		if err := f.keys.Replace(signingKey(t)); err != nil {
			t.Fatal(err)
		}
		if err := call(t.Context(), f.Client, id); !errors.Is(err, client.ErrKeyWithdrawn) || len(f.net.Refreshes()) != 0 {
			t.Errorf("call = %v with %d requests, want ErrKeyWithdrawn and none", err, len(f.net.Refreshes()))
		}
		if err := f.keys.Replace(signingKey(t), f.key); err != nil {
			t.Fatal(err)
		}
		if err := call(t.Context(), f.Client, id); err != nil {
			t.Errorf("call with the key back = %v", err)
		}
	})
}

// TestAnAccountThatMoves: S38.
func TestAnAccountThatMoves(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		s := f.session(t)
		d := s.Data()
		f.net.Move(hostile.Alice, hostile.PDS2)
		at2 := func() error {
			resp, err := s.Do(newRequest(t, "POST", hostile.PDS2+"/xrpc/com.atproto.repo.createRecord"))
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		if err := at2(); err != nil || s.Data().PDS != hostile.PDS2 || f.row(t, d.ID).PDS != hostile.PDS2 {
			t.Errorf("call at the new PDS of the same issuer = %v, session is at %s; want it to follow", err, s.Data().PDS)
		}
		if err := use(t.Context(), s); err != nil || f.net.Rotations() != 0 {
			t.Errorf("use = %v with %d refreshes", err, f.net.Rotations())
		}
		f.net.Move(hostile.Alice, hostile.PDS)
		f.expire(t, d.ID)
		if got, err := f.Refresh(t.Context(), d.ID); err != nil || got.PDS != hostile.PDS {
			t.Errorf("Refresh after moving back = %v at %s, want the new PDS adopted", err, got.PDS)
		}
		f.net.Move(hostile.Alice, hostile.Elsewhere)
		_, err := s.Do(newRequest(t, "POST", hostile.Elsewhere+"/xrpc/com.atproto.repo.createRecord"))
		var ended *client.EndedError
		if !errors.As(err, &ended) || ended.Reason != client.ReasonMoved {
			t.Errorf("call at a PDS of another issuer = %v, want an end as moved", err)
		}
		if len(f.net.Seen("createRecord")) == 0 || f.net.SeenAt(hostile.Elsewhere) != 1 {
			t.Errorf("%d requests at the new host, want a look at its metadata only", f.net.SeenAt(hostile.Elsewhere))
		}
	})
}

// TestRefreshAnswers: what a session becomes of an answer that is not the usual.
func TestRefreshAnswers(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct {
		tweak func(map[string]any)
		want  func(before, after *client.SessionData) bool
	}{
		"less scope": {with("scope", "atproto"), func(_, d *client.SessionData) bool { return d.Scope == "atproto" }},
		"more scope": {with("scope", postScope+" repo:a.b.c"), func(_, d *client.SessionData) bool { return d.Scope == postScope+" repo:a.b.c" }},
		"no scope":   {without("scope"), func(b, d *client.SessionData) bool { return d.Scope == b.Scope }},
		"no refresh token": {without("refresh_token"), func(b, d *client.SessionData) bool {
			return d.RefreshToken == b.RefreshToken && d.RefreshExpiresAt.Equal(b.RefreshExpiresAt)
		}},
		"expires_in missing":   {without("expires_in"), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.IsZero() }},
		"expires_in zero":      {with("expires_in", 0), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.IsZero() }},
		"expires_in negative":  {with("expires_in", -5), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.IsZero() }},
		"expires_in a word":    {with("expires_in", "soon"), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.IsZero() }},
		"expires_in huge":      {with("expires_in", 1e300), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.Equal(d.RefreshedAt.Add(24 * hour)) }},
		"expires_in as a text": {with("expires_in", "60"), func(_, d *client.SessionData) bool { return d.AccessExpiresAt.Equal(d.RefreshedAt.Add(time.Minute)) }},
		"refresh token's end": {with("refresh_token_expires_in", 7200), func(_, d *client.SessionData) bool {
			return d.RefreshExpiresAt.Equal(d.RefreshedAt.Add(2 * hour))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, func(t *testing.T, f *fixture) {
				id := f.signIn(t).ID
				f.expire(t, id)
				f.net.Tweak.Token = c.tweak
				before := f.row(t, id)
				after, err := f.Refresh(t.Context(), id)
				if err != nil || !c.want(before, after) {
					t.Errorf("Refresh = %v: scope %q, ends %v, %v", err, after.Scope, after.AccessExpiresAt, after.RefreshExpiresAt)
				}
			})
		})
	}
}

// TestPublicSessionsEndAfterTwoWeeks, whatever a server says.
func TestPublicSessionsEndAfterTwoWeeks(t *testing.T) {
	t.Parallel()
	bubble(t, loopback, func(t *testing.T, f *fixture) {
		d := f.signIn(t)
		if want := d.CreatedAt.Add(14 * 24 * time.Hour); !d.RefreshExpiresAt.Equal(want) {
			t.Errorf("ends at %v, want two weeks after the sign-in, %v", d.RefreshExpiresAt, want)
		}
		time.Sleep(24 * time.Hour)
		f.net.Tweak.Token = with("refresh_token_expires_in", 1e9)
		after, err := f.Refresh(context.Background(), d.ID)
		if err != nil || !after.RefreshExpiresAt.Equal(d.RefreshExpiresAt) {
			t.Errorf("after a refresh (%v) it ends at %v, want it unchanged", err, after.RefreshExpiresAt)
		}
	})
}

// TestATokenEndpointThatMoved is looked up again when it is not there any more.
func TestATokenEndpointThatMoved(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, f *fixture) {
		id := f.signIn(t).ID
		f.expire(t, id)
		f.edit(t, id, func(d *client.SessionData) { d.TokenEndpoint = hostile.Issuer + "/before/token" })
		d, err := f.Refresh(t.Context(), id)
		if err != nil || d.TokenEndpoint != tokenURL || f.row(t, id).TokenEndpoint != tokenURL {
			t.Errorf("Refresh = %v at %s, want the endpoint of today", err, d.TokenEndpoint)
		}
	})
}
