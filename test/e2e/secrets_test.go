package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// secrets reads every sealed value out of the instance's database and opens it.
func (i *instance) secrets() (map[string]string, error) {
	db := i.database()
	defer db.Close()
	ring, err := i.ring()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, column := range []string{"access_token", "refresh_token", "dpop_key"} {
		if err := i.open(db, ring, "oauth_session", "id", column, found); err != nil {
			return nil, err
		}
	}
	for _, column := range []string{"verifier", "dpop_key"} {
		if err := i.open(db, ring, "login_attempt", "state_hash", column, found); err != nil {
			return nil, err
		}
	}
	for _, column := range []string{"password", "recovery_key", "invite", "access_token", "refresh_token"} {
		if err := i.open(db, ring, "hosted_account", "id", column, found); err != nil {
			return nil, err
		}
	}
	for _, column := range []string{"password", "access_token", "refresh_token"} {
		if err := i.open(db, ring, "app_password", "did", column, found); err != nil {
			return nil, err
		}
	}
	return found, i.open(db, ring, "signing_key", "kid", "private_key", found)
}

// learn adds a secret, and of a key what is private in it.
func learn(found map[string]string, name, plain string) {
	found[name] = plain
	var key struct {
		D string `json:"d"`
	}
	if json.Unmarshal([]byte(plain), &key) == nil && key.D != "" {
		found[name+" (d)"] = key.D
	}
}

// database opens the instance's database beside it.
func (i *instance) database() *store.DB {
	i.t.Helper()
	db, err := store.Open(context.WithoutCancel(i.t.Context()), store.Config{Path: filepath.Join(i.dir, "data", "atoll.db"), URL: i.shape.database})
	if err != nil {
		i.t.Fatal(err)
	}
	return db
}

func (i *instance) ring() (*keyring.Ring, error) {
	if text, ok := i.shape.env["ATOLL_SECRET_KEY"]; ok {
		return keyring.Parse(text)
	}
	return keyring.LoadFile(filepath.Join(i.dir, "data", "secret.key"))
}

// open adds the opened values of one column to found. Empty values are those of
// sessions that have ended.
func (i *instance) open(db *store.DB, ring *keyring.Ring, table, key, column string, found map[string]string) error {
	rows, err := db.Read().QueryContext(context.WithoutCancel(i.t.Context()), fmt.Sprintf("SELECT %s, %s FROM %s", key, column, table))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var rowKey any
		var sealed []byte
		if err := rows.Scan(&rowKey, &sealed); err != nil {
			return err
		}
		id, isText := rowKey.(string)
		if !isText {
			id = hex.EncodeToString(rowKey.([]byte))
		}
		if len(sealed) == 0 {
			continue
		}
		plain, err := ring.Open(sealed, keyring.Place{Table: table, Column: column, Key: id})
		if err != nil {
			return fmt.Errorf("open %s.%s of %s: %w", table, column, id, err)
		}
		learn(found, fmt.Sprintf("%s.%s of %s", table, column, id), string(plain))
	}
	return rows.Err()
}
