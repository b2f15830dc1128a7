-- +goose Up

-- Whom a community that this instance hosts admits: 'open', 'members' or
-- 'approval'. A community without a row is open.
CREATE TABLE community_policy (
    community    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    admission    TEXT COLLATE "C" NOT NULL,
    review_edits BOOLEAN NOT NULL,
    changed_by   TEXT COLLATE "C" NOT NULL,
    changed_at   BIGINT NOT NULL
);

-- Who may post where posts need approval.
CREATE TABLE community_approved (
    community   TEXT COLLATE "C" NOT NULL,
    person      TEXT COLLATE "C" NOT NULL,
    approved_by TEXT COLLATE "C" NOT NULL,
    approved_at BIGINT NOT NULL,
    PRIMARY KEY (community, person)
);

-- Posts that wait, and what a moderator has said about one that is still to be
-- written. why is 'approval', 'member' or 'edit', cid the version that was
-- looked at; due says when to look again, NULL when somebody has to act. verdict
-- is 'accept' or 'remove'; NULL when there is none.
CREATE TABLE community_review (
    community  TEXT COLLATE "C" NOT NULL,
    author     TEXT COLLATE "C" NOT NULL,
    rkey       TEXT COLLATE "C" NOT NULL,
    cid        TEXT COLLATE "C" NOT NULL,
    why        TEXT COLLATE "C" NOT NULL,
    since      BIGINT NOT NULL,
    due        BIGINT,
    verdict    TEXT COLLATE "C",
    verdict_by TEXT COLLATE "C",
    verdict_at BIGINT,
    code       TEXT,
    reason     TEXT,
    PRIMARY KEY (community, author, rkey)
);

CREATE INDEX community_review_since ON community_review (community, since);
CREATE INDEX community_review_due ON community_review (due) WHERE due IS NOT NULL;

-- How far this instance has looked for posts to decide about.
CREATE TABLE community_seen (
    id      BIGINT NOT NULL PRIMARY KEY,
    seq     BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
