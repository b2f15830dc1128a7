-- +goose Up

-- One row that everybody who writes to the index updates first: it makes them
-- take turns, as SQLite does anyway, and numbers their transactions in the
-- order of their commits.
CREATE TABLE index_clock (
    id  BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);

INSERT INTO index_clock (id, seq) VALUES (1, 0);

-- A post that others refer to before it came has a row with rev 0. fetch_due
-- says when it is to be asked for, because its community has accepted it.
ALTER TABLE post ADD COLUMN fetch_due BIGINT;
ALTER TABLE post ADD COLUMN fetch_attempts BIGINT NOT NULL DEFAULT 0;

CREATE INDEX post_fetch_due ON post (fetch_due) WHERE fetch_due IS NOT NULL;
CREATE INDEX post_community ON post (community_id, rkey) WHERE NOT deleted;

-- What a community's repository says about one post: its acceptance and its
-- removal, which have the same key. Each has its own gate; without a CID there
-- is no such record. post_id is NULL while only deletes were seen.
CREATE TABLE admission (
    community_id  BIGINT NOT NULL,
    rkey          TEXT COLLATE "C" NOT NULL,
    post_id       BIGINT,
    accept_rev    BIGINT NOT NULL,
    accept_cid    TEXT COLLATE "C",
    accept_at     BIGINT,
    remove_rev    BIGINT NOT NULL,
    remove_cid    TEXT COLLATE "C",
    remove_at     BIGINT,
    remove_code   TEXT,
    remove_reason TEXT,
    PRIMARY KEY (community_id, rkey)
);

CREATE INDEX admission_post ON admission (post_id, community_id) WHERE post_id IS NOT NULL;

-- References in the older form at://community/social.coves.community.post/key.
-- post_id is the post that they mean now, NULL while there is none.
CREATE TABLE legacy_post (
    id           BIGINT NOT NULL PRIMARY KEY,
    community_id BIGINT NOT NULL,
    rkey         TEXT COLLATE "C" NOT NULL,
    post_id      BIGINT,
    UNIQUE (community_id, rkey)
);

-- Comments; rows, gate and deleted as for posts. alias_id names the older form
-- of the root where the record uses it; root_id is then what that means now.
-- parent_id is NULL for an answer to the post itself.
CREATE TABLE comment (
    id         BIGINT NOT NULL PRIMARY KEY,
    author_id  BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    deleted    BOOLEAN NOT NULL,
    indexed_at BIGINT NOT NULL,
    root_id    BIGINT,
    alias_id   BIGINT,
    parent_id  BIGINT,
    cid        TEXT COLLATE "C",
    created_at BIGINT,
    edited_at  BIGINT,
    record     BYTEA,
    UNIQUE (author_id, tid)
);

CREATE INDEX comment_root ON comment (root_id, parent_id) WHERE root_id IS NOT NULL;
CREATE INDEX comment_parent ON comment (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comment_alias ON comment (alias_id) WHERE alias_id IS NOT NULL;

-- Records by which an account takes a stand on a subject. Of several on one
-- subject the one with the greatest tid counts. tid is the record's key, rev
-- the gate; without a record value is 0 and subject_id NULL.
-- vote: the subject is a post or comment; 1 up, -1 down.
CREATE TABLE vote (
    account_id BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    value      SMALLINT NOT NULL,
    subject_id BIGINT,
    alias_id   BIGINT,
    PRIMARY KEY (account_id, tid)
);

CREATE INDEX vote_subject ON vote (subject_id, account_id, tid) WHERE subject_id IS NOT NULL;
CREATE INDEX vote_alias ON vote (alias_id) WHERE alias_id IS NOT NULL;

-- subscription: the subject is a community; 1 to 5 is how much of it the
-- account wants to see, 0 that it no longer follows.
CREATE TABLE subscription (
    account_id BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    value      SMALLINT NOT NULL,
    subject_id BIGINT,
    PRIMARY KEY (account_id, tid)
);

CREATE INDEX subscription_subject ON subscription (subject_id, account_id, tid) WHERE subject_id IS NOT NULL;

-- Blocks of people and of communities; value is 1.
CREATE TABLE person_block (
    account_id BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    value      SMALLINT NOT NULL,
    subject_id BIGINT,
    PRIMARY KEY (account_id, tid)
);

CREATE INDEX person_block_subject ON person_block (subject_id, account_id, tid) WHERE subject_id IS NOT NULL;

CREATE TABLE community_block (
    account_id BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    value      SMALLINT NOT NULL,
    subject_id BIGINT,
    PRIMARY KEY (account_id, tid)
);

CREATE INDEX community_block_subject ON community_block (subject_id, account_id, tid) WHERE subject_id IS NOT NULL;

-- Counters, all derived from the rows above. The first four are of accounts as
-- people, the others of accounts as communities.
CREATE TABLE account_tally (
    account_id    BIGINT NOT NULL PRIMARY KEY,
    posts         BIGINT NOT NULL,
    comments      BIGINT NOT NULL,
    subscriptions BIGINT NOT NULL,
    subscribers   BIGINT NOT NULL,
    accepted      BIGINT NOT NULL
);

CREATE TABLE comment_tally (
    comment_id BIGINT NOT NULL PRIMARY KEY,
    upvotes    BIGINT NOT NULL,
    downvotes  BIGINT NOT NULL,
    score      BIGINT NOT NULL,
    replies    BIGINT NOT NULL
);

-- The narrow rows that lists of posts are made from. community_id is NULL
-- where no list may show the post. hot is described in rank.go.
CREATE TABLE post_rank (
    post_id      BIGINT NOT NULL PRIMARY KEY,
    community_id BIGINT,
    state        SMALLINT NOT NULL,
    created_at   BIGINT NOT NULL,
    hot          BIGINT NOT NULL,
    score        BIGINT NOT NULL,
    upvotes      BIGINT NOT NULL,
    downvotes    BIGINT NOT NULL,
    comments     BIGINT NOT NULL
);

CREATE INDEX post_rank_hot ON post_rank (community_id, hot, post_id) WHERE community_id IS NOT NULL;

INSERT INTO post_rank (post_id, community_id, state, created_at, hot, score, upvotes, downvotes, comments)
SELECT id, community_id, state, created_at, (created_at - 1735689600000000) / 45000, 0, 0, 0, 0
FROM post WHERE NOT deleted AND state < 3;

INSERT INTO account_tally (account_id, posts, comments, subscriptions, subscribers, accepted)
SELECT author_id, count(*), 0, 0, 0, 0 FROM post WHERE NOT deleted GROUP BY author_id;

-- Where posts stood before the transaction seq moved them, for ten minutes.
CREATE TABLE rank_change (
    seq          BIGINT NOT NULL,
    post_id      BIGINT NOT NULL,
    changed_at   BIGINT NOT NULL,
    community_id BIGINT,
    state        SMALLINT NOT NULL,
    created_at   BIGINT NOT NULL,
    hot          BIGINT NOT NULL,
    score        BIGINT NOT NULL,
    PRIMARY KEY (seq, post_id)
);
