package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// aliveEvery is how often a connection on which nothing is heard is asked
	// whether it still is one, and aliveFor how long the answer may take.
	aliveEvery = 20 * time.Second
	aliveFor   = 5 * time.Second
)

// Notify tells everybody who listens to a channel, in every process. What was
// committed before is visible to whoever hears it. On SQLite it does nothing.
func (db *DB) Notify(ctx context.Context, channel, message string) error {
	if db.engine != Postgres {
		return nil
	}
	if _, err := db.readers.ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, message); err != nil {
		return fmt.Errorf("notify %s: %w", channel, err)
	}
	return nil
}

// Listen calls heard with each message of Notify on a channel, on a connection of
// its own, until ctx ends; then it returns nil. ready is called as soon as nothing
// is missed any more. When the connection breaks, which is noticed within half a
// minute, Listen returns an error: what was said since is lost. On SQLite nothing
// is ever heard, and ready is not called.
func (db *DB) Listen(ctx context.Context, channel string, ready func(), heard func(message string)) error {
	if db.engine != Postgres {
		<-ctx.Done()
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, db.config.Copy())
	if err == nil {
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize())
	}
	if err == nil {
		ready()
		err = hear(ctx, conn, heard)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("listen to %s: %w", channel, err)
}

// hear waits for messages until the connection breaks or ctx ends.
func hear(ctx context.Context, conn *pgx.Conn, heard func(message string)) error {
	for {
		wait, cancel := context.WithTimeout(ctx, aliveEvery)
		message, err := conn.WaitForNotification(wait)
		silent := wait.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			heard(message.Payload)
			continue
		case !silent:
			return err
		}
		ask, cancel := context.WithTimeout(ctx, aliveFor)
		err = conn.Ping(ask)
		cancel()
		if err != nil {
			return err
		}
	}
}
