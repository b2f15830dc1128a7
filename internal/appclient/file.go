package appclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/fault"
)

// File is where a session is kept, readable by its owner only.
type File string

// FileIn is the file in the configuration folder of the user with this
// environment: XDG_CONFIG_HOME, or .config in HOME.
func FileIn(getenv func(string) string) (File, error) {
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := getenv("HOME")
		if home == "" {
			home = getenv("USERPROFILE")
		}
		if home == "" {
			return "", fault.New(fault.Invalid, "There is no home folder to keep the sign-in in. Set HOME or XDG_CONFIG_HOME.")
		}
		dir = filepath.Join(home, ".config")
	}
	return File(filepath.Join(dir, "atoll", "session.json")), nil
}

// kept is what is in the file.
type kept struct {
	Server          string    `json:"server"`
	SessionID       string    `json:"session_id"`
	DID             string    `json:"did"`
	Handle          string    `json:"handle,omitempty"`
	AccessToken     string    `json:"access_token"`
	AccessExpiresAt time.Time `json:"access_expires_at"`
	RefreshSecret   string    `json:"refresh_secret"`
}

func keep(server string, s *authv1.Session) kept {
	return kept{
		Server: server, SessionID: s.GetSessionId(), DID: s.GetDid(), Handle: s.GetHandle(),
		AccessToken: s.GetAccessToken(), AccessExpiresAt: s.GetAccessExpiresAt().AsTime(), RefreshSecret: s.GetRefreshSecret(),
	}
}

var errSignedOut = fault.New(fault.Unauthenticated, "Nobody is signed in here. Sign in with `atoll login`.")

func (f File) read() (kept, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, errSignedOut
	}
	if err != nil {
		return kept{}, fmt.Errorf("read the sign-in: %w", err)
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil || k.Server == "" || k.RefreshSecret == "" {
		return kept{}, fault.New(fault.Invalid, "The file "+string(f)+" is damaged. Remove it and sign in again.")
	}
	return k, nil
}

// write replaces the file, whole or not at all. Nobody else can read it at any
// moment: the new one is made with its mode.
func (f File) write(k kept) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	temp, err := os.CreateTemp(dir, ".session-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // it is gone when all went well
	_, err = temp.Write(append(text, '\n'))
	err = errors.Join(err, temp.Chmod(0o600), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), string(f))
	}
	if err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	return nil
}

func (f File) remove() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the sign-in: %w", err)
	}
	return nil
}

// use calls do with a good access token, renewing it when it is about to end,
// and once more when the server does not take it.
func (f File) use(ctx context.Context, do func(c *Client, token string) error) error {
	k, err := f.read()
	if err != nil {
		return err
	}
	c, err := New(k.Server)
	if err != nil {
		return err
	}
	if time.Until(k.AccessExpiresAt) > early {
		if err := do(c, k.AccessToken); !errors.Is(err, errOver) {
			return err
		}
	}
	if k, err = f.renew(ctx, c, k); err != nil {
		return err
	}
	return do(c, k.AccessToken)
}

// renew exchanges the refresh secret. The next one is kept before it is used.
func (f File) renew(ctx context.Context, c *Client, k kept) (kept, error) {
	resp, err := c.auth.RefreshSession(ctx, connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: k.RefreshSecret}))
	if err != nil {
		return kept{}, over(err)
	}
	k = keep(k.Server, resp.Msg.GetSession())
	return k, f.write(k)
}
