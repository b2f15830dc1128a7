-- +goose Up

-- For `atoll ingest status`: events a minute, as last counted, and what was
-- passed over since there is this database.
ALTER TABLE ingest_source ADD COLUMN per_minute BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ingest_source ADD COLUMN counted_at BIGINT NOT NULL DEFAULT 0;

CREATE TABLE ingest_drop (
    reason  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    dropped BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
