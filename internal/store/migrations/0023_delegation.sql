-- +goose Up

-- Passwords for apps that members have given, and the session at their own
-- server that each has opened. Tokens are saved together, by who holds the lease;
-- empty when there is no session. refused is when the server last would not take
-- the password itself; 0 while it works.
CREATE TABLE app_password (
    did               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    pds               TEXT COLLATE "C" NOT NULL, -- origin where it was proven
    password          BYTEA NOT NULL,
    access_token      BYTEA NOT NULL,
    refresh_token     BYTEA NOT NULL,
    access_expires_at BIGINT NOT NULL,
    version           BIGINT NOT NULL,
    lease_owner       TEXT COLLATE "C" NOT NULL,
    lease_until       BIGINT NOT NULL,
    refused_at        BIGINT NOT NULL,
    created_at        BIGINT NOT NULL
);

-- Service tokens that were used for a procedure, by the hash of issuer and jti,
-- until they are over.
CREATE TABLE service_token (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX service_token_expires ON service_token (expires_at);

-- Accounts that have proven their domain, and may have a key.
CREATE TABLE aggregator (
    did        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    domain     TEXT COLLATE "C" NOT NULL,
    proven_at  BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Keys of aggregators, as SHA-256 only; prefix is what the owner knows them by.
-- used_at is exact to the hour. One of each is not revoked.
CREATE TABLE aggregator_key (
    key_hash   BYTEA NOT NULL PRIMARY KEY,
    did        TEXT COLLATE "C" NOT NULL,
    prefix     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX aggregator_key_live ON aggregator_key (did) WHERE revoked_at = 0;
CREATE INDEX aggregator_key_did ON aggregator_key (did, created_at);
