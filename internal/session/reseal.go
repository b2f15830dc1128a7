package session

import (
	"context"

	"github.com/atoll-social/atoll/internal/store"
)

func sealedSessions() store.Sealed[string] {
	return store.Sealed[string]{
		Table: "oauth_session", Key: "id", Columns: []string{"dpop_key", "access_token", "refresh_token"},
		Place: func(id string) string { return id },
	}
}

func sealedKeys() store.Sealed[string] {
	return store.Sealed[string]{
		Table: "signing_key", Key: "kid", Columns: []string{"private_key"},
		Place: func(kid string) string { return kid },
	}
}

// Reseal seals every session with the newest master key; see store.Reseal. It
// does not move a session's version: to a refresh that is under way nothing has
// changed, and it must not lose its tokens over this.
func (m *Manager) Reseal(ctx context.Context) (store.Resealed, error) {
	return store.Reseal(ctx, m.db, m.ring, sealedSessions())
}

// SealedWith counts the sealed values of sessions by master key id.
func (m *Manager) SealedWith(ctx context.Context) (map[string]int, error) {
	return sealedSessions().SealedWith(ctx, m.db)
}

// Reseal seals every client key with the newest master key; see store.Reseal.
func (k *Keys) Reseal(ctx context.Context) (store.Resealed, error) {
	return store.Reseal(ctx, k.db, k.ring, sealedKeys())
}

// SealedWith counts the sealed client keys by master key id.
func (k *Keys) SealedWith(ctx context.Context) (map[string]int, error) {
	return sealedKeys().SealedWith(ctx, k.db)
}
