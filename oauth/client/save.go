package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How often a save of rotated tokens is tried, and the pause after the first
// failure; it doubles.
const (
	saveTries = 8
	savePause = 100 * time.Millisecond
)

// store saves rotated tokens, whatever it takes: without them the session is
// lost. A save that seems to fail may have been done. When it is hopeless the
// tokens are revoked and the session ends.
func (h *holder) store(ctx context.Context, next *SessionData) (*SessionData, error) {
	c, used := h.c, h.current().RefreshToken
	var err error
	for try := range saveTries {
		if try > 0 {
			rest(ctx, savePause<<(try-1))
		}
		if err = h.put(ctx, next); err == nil {
			return h.current(), nil
		}
		row, readErr := c.read(ctx, next.ID)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(readErr, ErrNotFound):
			c.forget(ctx, next) // signed out meanwhile: nobody may keep these tokens alive
			return nil, fmt.Errorf("session %s: save refreshed tokens: %w", next.ID, ErrNotFound)
		case readErr == nil && row.AccessToken == next.AccessToken:
			return row, nil // it was saved, and only the answer went missing
		case readErr == nil && row.RefreshToken != used:
			return row, nil // somebody has refreshed after us: theirs are newer
		case readErr == nil && (errors.Is(err, errLeaseLost) || errors.Is(err, ErrConflict)):
			h.retake(row) // the tokens there are still those that ours replace
		}
		c.log.WarnContext(ctx, "refreshed tokens not saved", "session", next, "try", try+1, "error", err)
	}
	c.forget(ctx, next)
	return nil, c.ended(ctx, next, ReasonLost, fmt.Errorf("save refreshed tokens: %w", err))
}

// put writes everything of next but its version.
func (h *holder) put(ctx context.Context, next *SessionData) error {
	return h.save(ctx, func(d *SessionData) {
		version := d.Version
		*d = *next
		d.Version = version
	})
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
