-- +goose Up

-- Where reading goes on, per source. cursor is NULL until the first batch of
-- a source that starts live. origin_kind is what the host turned out to be:
-- 'pds' or 'relay'.
CREATE TABLE ingest_source (
    url         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind        TEXT COLLATE "C" NOT NULL,
    origin_kind TEXT COLLATE "C" NOT NULL,
    cursor      BIGINT,
    updated_at  BIGINT NOT NULL
);

-- Events whose data the database refused, kept whole until they are re-driven.
-- payload is the event as JSON.
CREATE TABLE ingest_dead (
    id         BIGINT NOT NULL PRIMARY KEY,
    source     TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    did        TEXT COLLATE "C" NOT NULL,
    collection TEXT COLLATE "C" NOT NULL,
    rkey       TEXT COLLATE "C" NOT NULL,
    rev        TEXT COLLATE "C" NOT NULL,
    error      TEXT COLLATE "C" NOT NULL,
    payload    BYTEA NOT NULL,
    failed_at  BIGINT NOT NULL,
    attempts   BIGINT NOT NULL
);
