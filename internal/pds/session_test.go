package pds_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/test/network"
)

// The official server gives sessions for passwords, renews and ends them.
func TestOfficialPasswords(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	account := n.NewAccount(t, 0)
	other, err := n.SignInWithPassword(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Password string }
	if err := other.Call(t.Context(), "com.atproto.server.createAppPassword", map[string]string{"name": "atoll"}, &made); err != nil {
		t.Fatal(err)
	}
	c := client(t, n.PDS[0].URL, n.Client())
	who := syntax.DID(account.DID).AtIdentifier()
	for password, main := range map[string]bool{account.Password: true, made.Password: false} {
		s, err := c.CreateSession(t.Context(), who, keyring.NewSecret(password))
		if err != nil || s.DID.String() != account.DID || s.MainPassword != main || time.Until(s.AccessExpires) < time.Hour {
			t.Fatalf("CreateSession = %+v, %v; want main password %v", s, err, main)
		}
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, s.Access.Reveal()) || strings.Contains(text, s.Refresh.Reveal()) {
			t.Error("a session shows its tokens when it is printed")
		}
		next, err := c.RefreshSession(t.Context(), s.Refresh)
		if err != nil || next.DID != s.DID || next.Refresh.Equal(s.Refresh) {
			t.Fatalf("RefreshSession = %+v, %v", next, err)
		}
		if err := c.DeleteSession(t.Context(), next.Refresh); err != nil {
			t.Errorf("DeleteSession = %v", err)
		}
		var refused *pds.Error
		if _, err := c.RefreshSession(t.Context(), next.Refresh); !errors.As(err, &refused) || refused.Name != pds.NameExpiredToken {
			t.Errorf("RefreshSession of an ended session = %v, want %s", err, pds.NameExpiredToken)
		}
	}
	var refused *pds.Error
	if _, err := c.CreateSession(t.Context(), who, keyring.NewSecret("wrong")); !errors.As(err, &refused) || refused.Name != pds.NameAuthRequired {
		t.Errorf("CreateSession with a wrong password = %v, want %s", err, pds.NameAuthRequired)
	}
	if _, err := c.RefreshSession(t.Context(), keyring.NewSecret("abc")); !errors.As(err, &refused) || refused.Name != pds.NameInvalidToken {
		t.Errorf("RefreshSession with nonsense = %v, want %s", err, pds.NameInvalidToken)
	}
}

func TestSessionAnswers(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{`{}`, `{"did":"x","accessJwt":"a","refreshJwt":"b"}`, `{"did":"did:plc:x","accessJwt":"a"}`} {
		c, _ := serve(t, says(200, answer))
		if s, err := c.RefreshSession(t.Context(), keyring.NewSecret("r")); !errors.Is(err, pds.ErrBadAnswer) {
			t.Errorf("RefreshSession = %+v, %v; want ErrBadAnswer", s, err)
		}
	}
	c, _ := serve(t, says(200, `{"did":"did:plc:x","accessJwt":"opaque","refreshJwt":"b"}`))
	if s, err := c.RefreshSession(t.Context(), keyring.NewSecret("r")); err != nil || !s.AccessExpires.IsZero() || s.MainPassword {
		t.Errorf("RefreshSession with tokens of another form = %+v, %v", s, err)
	}
}
