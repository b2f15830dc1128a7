-- +goose Up

-- Sign-ins that went to a server and have not come back. state_hash is the
-- SHA-256 of the OAuth state, binding_hash that of the cookie which the
-- starting browser holds. verifier and dpop_key are sealed, bound to their
-- column and to state_hash.
CREATE TABLE login_attempt (
    state_hash      BYTEA NOT NULL PRIMARY KEY,
    issuer          TEXT NOT NULL,
    did             TEXT COLLATE "C" NOT NULL, -- who must come back; empty when a server was named
    binding_hash    BYTEA NOT NULL,
    return_to       TEXT NOT NULL,             -- a local path
    origin          TEXT COLLATE "C" NOT NULL, -- coarse address of the starter
    opened          BOOLEAN NOT NULL,          -- the browser has shown that it holds the cookie
    params          BYTEA NOT NULL,            -- the other, public, parts of the attempt, JSON
    verifier        BYTEA NOT NULL,
    dpop_key        BYTEA NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL
);
CREATE INDEX login_attempt_oldest ON login_attempt (opened, created_at);
CREATE INDEX login_attempt_origin ON login_attempt (origin, opened, created_at);
CREATE INDEX login_attempt_expires ON login_attempt (expires_at);
