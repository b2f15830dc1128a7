-- +goose Up

-- Applications that a member has signed in, each with an OAuth session of its
-- own. An application holds a refresh secret of two parts: the family stays the
-- same, the rest changes with every use. Both are here as SHA-256 only, and NULL
-- until the application has collected them, which it must before expires_at.
-- salt makes secret_hash's secret from that of prev_hash, so that an answer that
-- was lost can be given again for a moment.
CREATE TABLE app_session (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    did              TEXT COLLATE "C" NOT NULL,
    handle           TEXT COLLATE "C" NOT NULL, -- display only; empty when unknown
    oauth_session_id TEXT COLLATE "C" NOT NULL,
    name             TEXT NOT NULL,             -- what the application calls itself
    origin           TEXT NOT NULL,             -- coarse address of the application
    once             BOOLEAN NOT NULL,          -- the first secret went through a browser: not twice
    family_hash      BYTEA UNIQUE,
    secret_hash      BYTEA,
    prev_hash        BYTEA,
    salt             BYTEA,
    generation       BIGINT NOT NULL,           -- how many secrets there were
    created_at       BIGINT NOT NULL,
    rotated_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL
);
CREATE INDEX app_session_did ON app_session (did, created_at);
CREATE INDEX app_session_expires ON app_session (expires_at);
CREATE INDEX app_session_oauth ON app_session (oauth_session_id);
