-- +goose Up

-- Repositories that have records of ours, or are to be fetched. rev and data
-- are the revision verified last and the root of its tree (NULL: none yet). At
-- base the repository was fetched whole: nothing up to there is missing, and
-- nothing up to there is read again. At broken the chain of commits broke, or
-- began: a fetch counts when it is not older. wanted: to be fetched, from
-- next_try on, for this reason.
CREATE TABLE ingest_repo (
    did        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    rev        BIGINT NOT NULL,
    data       BYTEA,
    base       BIGINT NOT NULL,
    broken     BIGINT NOT NULL,
    wanted     BOOLEAN NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    next_try   BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    error      TEXT COLLATE "C" NOT NULL,
    fetched_at BIGINT NOT NULL
);

CREATE INDEX ingest_repo_wanted ON ingest_repo (next_try) WHERE wanted;
