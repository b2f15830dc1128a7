-- +goose Up

-- Accounts that records name, as author or as community. Everything here can
-- be asked of the network again. resolve_due says when that is to happen next;
-- NULL means that nothing is to be asked.
CREATE TABLE account (
    id               BIGINT NOT NULL PRIMARY KEY,
    did              TEXT COLLATE "C" NOT NULL UNIQUE,
    handle           TEXT COLLATE "C",
    pds              TEXT COLLATE "C",
    active           BOOLEAN NOT NULL,
    status           TEXT COLLATE "C",
    status_at        BIGINT NOT NULL,
    resolved_at      BIGINT,
    verified_at      BIGINT,
    resolve_due      BIGINT,
    resolve_attempts BIGINT NOT NULL
);

CREATE INDEX account_handle ON account (handle) WHERE handle IS NOT NULL;
-- By DID method, "did:plc:" and "did:web:": each waits in a queue of its own.
CREATE INDEX account_resolve_due ON account (substr(did, 1, 8), resolve_due, id) WHERE resolve_due IS NOT NULL;

-- Posts, one row per author and record key. rev is the gate: the revision of
-- the repository that was applied last, as the integer of its TID. The row
-- outlives its record: deleted says that there is none at rev (it was deleted,
-- or cannot be read as a post), and everything after state is then NULL.
-- state is the community's admission: 0 pending, 1 accepted,
-- 2 pending_reacceptance, 3 rejected, 4 removed.
CREATE TABLE post (
    id           BIGINT NOT NULL PRIMARY KEY,
    author_id    BIGINT NOT NULL,
    rkey         TEXT COLLATE "C" NOT NULL,
    rev          BIGINT NOT NULL,
    deleted      BOOLEAN NOT NULL,
    indexed_at   BIGINT NOT NULL,
    state        SMALLINT NOT NULL,
    community_id BIGINT,
    cid          TEXT COLLATE "C",
    created_at   BIGINT,
    edited_at    BIGINT,
    record       BYTEA,
    UNIQUE (author_id, rkey)
);

CREATE INDEX post_newest ON post (created_at, id) WHERE NOT deleted;
