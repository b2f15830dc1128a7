-- +goose Up

-- The record key that was chosen for a request before it was first attempted,
-- by account and by the hash of the caller's Idempotency-Key. Kept a day.
CREATE TABLE agent_write_key (
    did          TEXT COLLATE "C" NOT NULL,
    key_hash     BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    rkey         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (did, key_hash)
);

CREATE INDEX agent_write_key_created ON agent_write_key (created_at);
