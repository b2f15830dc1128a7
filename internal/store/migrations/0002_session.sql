-- +goose Up

-- One row for each browser profile or app installation that holds a signed-in
-- account. token_hash is the SHA-256 of the cookie's value; the value itself is
-- nowhere. A row without accounts does not exist.
CREATE TABLE device (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    token_hash    BYTEA NOT NULL UNIQUE,
    token_version BIGINT NOT NULL,             -- grows with every new value
    active_did    TEXT COLLATE "C" NOT NULL,   -- the account that acts here
    user_agent    TEXT NOT NULL,               -- a summary: "Firefox on Linux"
    origin        TEXT NOT NULL,               -- coarse: 203.0.113.0/24
    created_at    BIGINT NOT NULL,
    used_at       BIGINT NOT NULL,             -- written at most hourly
    expires_at    BIGINT NOT NULL
);
CREATE INDEX device_expires ON device (expires_at);

-- The accounts of a device, each with an OAuth session of its own. The row
-- outlives a session that ended by itself, so that the member is asked to sign
-- in again instead of being forgotten.
CREATE TABLE device_account (
    device_id    TEXT COLLATE "C" NOT NULL,
    did          TEXT COLLATE "C" NOT NULL,
    session_id   TEXT COLLATE "C" NOT NULL,
    position     BIGINT NOT NULL,              -- order in the switcher
    handle       TEXT COLLATE "C" NOT NULL,    -- display only; empty when unknown
    signed_in_at BIGINT NOT NULL,
    PRIMARY KEY (device_id, did)
);
CREATE INDEX device_account_did ON device_account (did);
CREATE INDEX device_account_session ON device_account (session_id);

-- OAuth sessions with members' servers. state: live; revoking (over here, the
-- server is still to be told, tokens kept for that); ended (tokens gone).
-- dpop_key, access_token and refresh_token are sealed, bound to their column
-- and to id.
CREATE TABLE oauth_session (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    did                 TEXT COLLATE "C" NOT NULL,
    issuer              TEXT NOT NULL,
    pds                 TEXT NOT NULL,
    client_id           TEXT COLLATE "C" NOT NULL,
    key_id              TEXT COLLATE "C" NOT NULL, -- client key; empty for a public client
    scope               TEXT NOT NULL,             -- as granted
    token_endpoint      TEXT NOT NULL,
    revocation_endpoint TEXT NOT NULL,
    dpop_key            BYTEA NOT NULL,
    access_token        BYTEA NOT NULL,
    refresh_token       BYTEA NOT NULL,
    version             BIGINT NOT NULL,           -- compared by every save
    state               TEXT COLLATE "C" NOT NULL,
    ended_reason        TEXT COLLATE "C" NOT NULL,
    lease_owner         TEXT COLLATE "C" NOT NULL, -- who may refresh now
    lease_until         BIGINT NOT NULL,
    sent_until          BIGINT NOT NULL,           -- a refresh is out until then at most; 0 = none
    created_at          BIGINT NOT NULL,
    used_at             BIGINT NOT NULL,           -- coarse: written with device.used_at and refreshes
    refreshed_at        BIGINT NOT NULL,
    access_expires_at   BIGINT NOT NULL,           -- 0 = unknown
    refresh_expires_at  BIGINT NOT NULL,           -- 0 = unknown
    ended_at            BIGINT NOT NULL,           -- 0 = live
    revoke_tries        BIGINT NOT NULL,
    revoke_after        BIGINT NOT NULL            -- next try while revoking
);
CREATE INDEX oauth_session_did ON oauth_session (did);
CREATE INDEX oauth_session_key ON oauth_session (key_id) WHERE state = 'live';
CREATE INDEX oauth_session_renewal ON oauth_session (refresh_expires_at) WHERE state = 'live';
CREATE INDEX oauth_session_revoking ON oauth_session (revoke_after) WHERE state = 'revoking';

-- Private signing keys, sealed. (purpose, seq) is unique, so of several
-- processes that make the next key at once one wins and the others read it.
-- signs_from: from when on it signs for new sessions; 0 = published only.
CREATE TABLE signing_key (
    kid          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    purpose      TEXT COLLATE "C" NOT NULL,
    seq          BIGINT NOT NULL,
    private_key  BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    signs_from   BIGINT NOT NULL,
    withdrawn_at BIGINT NOT NULL,              -- 0 = published
    UNIQUE (purpose, seq)
);

-- What happened to whom, without secrets. Kept 90 days.
CREATE TABLE audit (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    did        TEXT COLLATE "C" NOT NULL,      -- empty when nobody was identified
    device_id  TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    origin     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail     TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_did ON audit (did, at);
