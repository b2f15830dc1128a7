-- +goose Up

-- Work that is done later, by any process with the role jobs. What is live is
-- waiting, parked or running; the other states are kept for a while to be seen.
-- claim counts how often the job was taken: together with its id it is what a
-- worker holds, so that one who lost its lease cannot finish it. "again" says
-- that a running job was asked for once more and must run again.
CREATE TABLE job (
    id           TEXT COLLATE "C" PRIMARY KEY,
    kind         TEXT COLLATE "C" NOT NULL,
    args         BYTEA NOT NULL,
    unique_key   TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    priority     BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    run_at       BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    started_at   BIGINT NOT NULL,
    finished_at  BIGINT NOT NULL,
    claim        BIGINT NOT NULL,
    owner        TEXT COLLATE "C" NOT NULL,
    lease_until  BIGINT NOT NULL,
    again        BOOLEAN NOT NULL,
    error        TEXT NOT NULL
);

CREATE UNIQUE INDEX job_unique ON job (kind, unique_key)
    WHERE unique_key <> '' AND state IN ('waiting', 'parked', 'running');
CREATE INDEX job_due ON job (priority DESC, run_at, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX job_leased ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at > 0;
CREATE INDEX job_created ON job (created_at, id);

-- The slot of time for which a periodic job was enqueued last.
CREATE TABLE job_period (
    kind TEXT COLLATE "C" PRIMARY KEY,
    slot BIGINT NOT NULL
);
