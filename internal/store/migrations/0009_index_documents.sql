-- +goose Up

-- Records that stand for themselves, one table for each type. rev is the gate;
-- a row without a record says that there is none at rev.

CREATE TABLE actor_profile (
    account_id   BIGINT NOT NULL PRIMARY KEY,
    rev          BIGINT NOT NULL,
    cid          TEXT COLLATE "C",
    created_at   BIGINT,
    display_name TEXT,
    avatar       TEXT COLLATE "C",
    record       BYTEA
);

-- hosted_by is a claim. host_ok is what asking found out about it, NULL while
-- it is not known; host_due says when to ask. visibility: 0 public, 1 unlisted,
-- 2 private.
CREATE TABLE community (
    account_id   BIGINT NOT NULL PRIMARY KEY,
    rev          BIGINT NOT NULL,
    cid          TEXT COLLATE "C",
    created_at   BIGINT,
    name         TEXT COLLATE "C",
    display_name TEXT,
    avatar       TEXT COLLATE "C",
    visibility   SMALLINT,
    hosted_by    TEXT COLLATE "C",
    record       BYTEA,
    host_ok      BOOLEAN,
    host_due     BIGINT
);

CREATE INDEX community_host_due ON community (host_due) WHERE host_due IS NOT NULL;

CREATE TABLE community_rules (
    account_id BIGINT NOT NULL PRIMARY KEY,
    rev        BIGINT NOT NULL,
    record     BYTEA
);

CREATE TABLE moderator (
    community_id BIGINT NOT NULL,
    tid          BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    user_id      BIGINT,
    role         TEXT,
    expires_at   BIGINT,
    record       BYTEA,
    PRIMARY KEY (community_id, tid)
);

CREATE INDEX moderator_user ON moderator (user_id, community_id) WHERE user_id IS NOT NULL;

-- in_force tells that the record does not say itself that the ban is over.
CREATE TABLE ban (
    community_id BIGINT NOT NULL,
    tid          BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    subject_id   BIGINT,
    in_force     BOOLEAN,
    expires_at   BIGINT,
    record       BYTEA,
    PRIMARY KEY (community_id, tid)
);

CREATE INDEX ban_subject ON ban (subject_id, community_id) WHERE subject_id IS NOT NULL;

CREATE TABLE aggregator_service (
    account_id BIGINT NOT NULL PRIMARY KEY,
    rev        BIGINT NOT NULL,
    created_at BIGINT,
    record     BYTEA
);

CREATE TABLE aggregator_authorization (
    community_id  BIGINT NOT NULL,
    rkey          TEXT COLLATE "C" NOT NULL,
    rev           BIGINT NOT NULL,
    aggregator_id BIGINT,
    enabled       BOOLEAN,
    record        BYTEA,
    PRIMARY KEY (community_id, rkey)
);

CREATE INDEX aggregator_authorization_service ON aggregator_authorization (aggregator_id) WHERE aggregator_id IS NOT NULL;
