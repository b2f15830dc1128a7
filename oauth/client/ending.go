package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/atoll-social/atoll/oauth"
)

// ErrEnded says that the session is over and was deleted; the error is an
// *EndedError.
var ErrEnded = errors.New("session has ended")

// EndedError says that a session was found to be over. Its row was deleted with
// the same reason; the member has to sign in again. It is ErrEnded, its Cause,
// and what the reason means: ErrRevoked, ErrTokenExpired, ErrKeyWithdrawn,
// ErrWrongSubject, ErrDeactivated, ErrTakenDown (also suspended), ErrAccountGone.
type EndedError struct {
	ID     string
	Reason Reason
	Cause  error
}

// Error names the session and the reason.
func (e *EndedError) Error() string {
	text := "session " + e.ID + " has ended: " + string(e.Reason)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns ErrEnded and Cause.
func (e *EndedError) Unwrap() []error {
	if e.Cause == nil {
		return []error{ErrEnded}
	}
	return []error{ErrEnded, e.Cause}
}

// meanings are the errors that reasons amount to.
var meanings = map[Reason]error{ // never changed
	ReasonRevoked: ErrRevoked, ReasonExpired: ErrTokenExpired, ReasonKeyWithdrawn: ErrKeyWithdrawn,
	ReasonSubject: ErrWrongSubject, ReasonDeactivated: ErrDeactivated, ReasonSuspended: ErrTakenDown,
	ReasonTakenDown: ErrTakenDown, ReasonDeleted: ErrAccountGone,
}

// Is reports whether target is what the reason means.
func (e *EndedError) Is(target error) bool {
	meaning, ok := meanings[e.Reason]
	return ok && errors.Is(meaning, target)
}

// ErrNotRefreshed says that the tokens could not be renewed for now; the session is
// kept; the error is a *RefreshError.
var ErrNotRefreshed = errors.New("session cannot be refreshed for now")

// RefreshError says that a session's tokens could not be renewed by trouble that
// passes: nobody answers, a server error, a rate limit, an answer that is none,
// or another process that takes long. The session is kept, and not tried again
// before Until. It is ErrNotRefreshed, and its Cause.
type RefreshError struct {
	ID    string
	Until time.Time
	Cause error
}

// Error names the session and says until when it is left alone.
func (e *RefreshError) Error() string {
	return "session " + e.ID + ": " + ErrNotRefreshed.Error() +
		", until " + e.Until.UTC().Format(time.RFC3339) + ": " + e.Cause.Error()
}

// Unwrap returns ErrNotRefreshed and Cause.
func (e *RefreshError) Unwrap() []error { return []error{ErrNotRefreshed, e.Cause} }

// endTries is how often a store is asked to delete a session that is over.
const endTries = 4

// ended deletes a session that is over and returns the error that says why, an
// *EndedError. Where the store cannot delete it, whoever uses it next finds out
// again.
func (c *Client) ended(ctx context.Context, d *SessionData, why Reason, cause error) error {
	c.log.InfoContext(ctx, "session has ended", "session", d, "reason", string(why), "error", cause)
	for try := range endTries {
		if try > 0 {
			rest(ctx, savePause<<try)
		}
		deleting, cancel := context.WithTimeout(ctx, saveLife)
		err := c.cfg.Sessions.Delete(deleting, d.ID, why)
		cancel()
		if err == nil {
			break
		}
		c.log.WarnContext(ctx, "session that is over not deleted", "session", d, "error", err)
	}
	c.pauses.succeeded(d.ID)
	return &EndedError{ID: d.ID, Reason: why, Cause: cause}
}

// reason tells from the server's words why it knows the grant no more, and where
// they say nothing, from what else is known.
func (c *Client) reason(ctx context.Context, d *SessionData, unanswered bool, cause error) Reason {
	var told *oauth.Error
	words := ""
	if errors.As(cause, &told) {
		words = strings.ToLower(told.Description)
	}
	says := func(phrases ...string) bool {
		for _, p := range phrases {
			if strings.Contains(words, p) {
				return true
			}
		}
		return false
	}
	switch {
	case says("expired"):
		return ReasonExpired
	case says("different key", "authentication method"):
		return ReasonKeyWithdrawn
	case says("deactivated"):
		return ReasonDeactivated
	case says("suspended"):
		return ReasonSuspended
	case says("taken down", "takedown", "takendown"):
		return ReasonTakenDown
	case unanswered:
		// An answer of before was never saved: the token was used up by it.
		return ReasonLost
	case says("replay", "reuse", "already used"):
		return ReasonReplayed
	case !d.RefreshExpiresAt.IsZero() && !c.now().Before(d.RefreshExpiresAt):
		return ReasonExpired
	}
	return c.standing(ctx, d)
}

// standingLife bounds the look at an account's status.
const standingLife = 5 * time.Second

// standing asks the PDS, without anybody's name, whether the account is why the
// session is gone (com.atproto.sync.getRepoStatus); if not, it was revoked.
func (c *Client) standing(ctx context.Context, d *SessionData) Reason {
	ctx, cancel := context.WithTimeout(ctx, standingLife)
	defer cancel()
	target := d.PDS + "/xrpc/com.atproto.sync.getRepoStatus?did=" + url.QueryEscape(d.DID.String())
	a, err := c.exchange(ctx, http.MethodGet, target, nil, nil)
	if err != nil {
		return ReasonRevoked
	}
	var said struct {
		Active *bool  `json:"active"`
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	if a.decode(&said) != nil {
		return ReasonRevoked
	}
	switch {
	case a.status == http.StatusBadRequest && said.Error == "RepoNotFound", said.Status == "deleted":
		return ReasonDeleted
	case a.status != http.StatusOK || said.Active == nil || *said.Active:
		return ReasonRevoked
	case said.Status == "suspended":
		return ReasonSuspended
	case said.Status == "takendown":
		return ReasonTakenDown
	}
	return ReasonDeactivated
}
