-- +goose Up

-- Accounts that Atoll hosts on the instance's PDS, with all that is needed to
-- act as them. The row is there before the account: what it takes to find out
-- whether an account was made, and to remove it, is never lost.
CREATE TABLE hosted_account (
    id             TEXT COLLATE "C" PRIMARY KEY,
    created_by     TEXT COLLATE "C" NOT NULL,
    request_key    TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    handle         TEXT COLLATE "C" NOT NULL,
    did            TEXT COLLATE "C" NOT NULL,
    pds            TEXT COLLATE "C" NOT NULL,
    email          TEXT NOT NULL,
    state          TEXT COLLATE "C" NOT NULL,
    status         TEXT COLLATE "C" NOT NULL,
    needs_repair   BOOLEAN NOT NULL,
    record         BYTEA NOT NULL,
    record_cid     TEXT COLLATE "C" NOT NULL,
    record_rev     TEXT COLLATE "C" NOT NULL,
    recovery_did   TEXT COLLATE "C" NOT NULL,
    password       BYTEA NOT NULL,
    recovery_key   BYTEA NOT NULL,
    invite         BYTEA NOT NULL,
    access_token   BYTEA NOT NULL,
    refresh_token  BYTEA NOT NULL,
    access_expires BIGINT NOT NULL,
    version        BIGINT NOT NULL,
    renewed_at     BIGINT NOT NULL,
    sent_at        BIGINT NOT NULL,
    failure_kind   BIGINT NOT NULL,
    failure_code   TEXT NOT NULL,
    failure        TEXT NOT NULL,
    problem        TEXT NOT NULL,
    lease_owner    TEXT COLLATE "C" NOT NULL,
    lease_until    BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    checked_at     BIGINT NOT NULL
);

CREATE UNIQUE INDEX hosted_account_request ON hosted_account (created_by, request_key);
CREATE UNIQUE INDEX hosted_account_handle ON hosted_account (handle) WHERE state <> 'undone';
CREATE UNIQUE INDEX hosted_account_did ON hosted_account (did) WHERE did <> '';
