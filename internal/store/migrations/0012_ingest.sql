-- +goose Up

-- Who ingests: one row, named 'ingest', whose owner writes it again and again.
CREATE TABLE ingest_lease (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner      TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);

-- How far the repositories of a source have been listed for a backfill, per
-- collection; collection is empty where the host can only list all of them.
CREATE TABLE ingest_listing (
    source     TEXT COLLATE "C" NOT NULL,
    collection TEXT COLLATE "C" NOT NULL,
    cursor     TEXT COLLATE "C" NOT NULL,
    listed     BIGINT NOT NULL,
    done       BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (source, collection)
);

-- Where a time cursor was read from: a sequence belongs to one host, a time
-- can go on elsewhere. at is NULL where the source has no times.
ALTER TABLE ingest_source ADD COLUMN at BIGINT;
