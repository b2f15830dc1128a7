-- +goose Up

-- Tables that every vote touches, laid out for writing. WITH (fillfactor = n)
-- leaves room on PostgreSQL's pages, so that an update stays where it is and
-- touches no index; for SQLite, where store reads it as "the key is the table"
-- (inSQLite), there is no second tree to keep.

-- Votes in the order of their keys, which are times: new ones go to the end,
-- and the one tree that is hit at random is that by account.
ALTER TABLE vote RENAME TO vote_before;

CREATE TABLE vote (
    account_id BIGINT NOT NULL,
    tid        BIGINT NOT NULL,
    rev        BIGINT NOT NULL,
    value      SMALLINT NOT NULL,
    subject_id BIGINT,
    alias_id   BIGINT,
    CONSTRAINT vote_key PRIMARY KEY (tid, account_id)
) WITH (fillfactor = 100);

INSERT INTO vote (account_id, tid, rev, value, subject_id, alias_id)
SELECT account_id, tid, rev, value, subject_id, alias_id FROM vote_before ORDER BY tid, account_id;

DROP TABLE vote_before;

CREATE INDEX vote_account ON vote (account_id, subject_id, tid, value);
CREATE INDEX vote_alias ON vote (alias_id) WHERE alias_id IS NOT NULL;
CREATE INDEX vote_gone ON vote (rev) WHERE value = 0;

-- hot_band and top_band follow from hot and score, more coarsely (rank.go), so
-- that most votes change no index. Lists are ORDER BY hot_band, hot, post_id and
-- ORDER BY top_band, score, post_id. top_band is 0 for most posts.
ALTER TABLE post_rank RENAME TO post_rank_before;

CREATE TABLE post_rank (
    post_id      BIGINT NOT NULL CONSTRAINT post_rank_key PRIMARY KEY,
    community_id BIGINT,
    state        SMALLINT NOT NULL,
    created_at   BIGINT NOT NULL,
    hot_band     BIGINT NOT NULL,
    top_band     SMALLINT NOT NULL,
    hot          BIGINT NOT NULL,
    score        BIGINT NOT NULL,
    upvotes      BIGINT NOT NULL,
    downvotes    BIGINT NOT NULL,
    comments     BIGINT NOT NULL
) WITH (fillfactor = 70);

INSERT INTO post_rank (post_id, community_id, state, created_at, hot_band, top_band, hot, score, upvotes, downvotes, comments)
SELECT post_id, community_id, state, created_at, hot >> 20,
    CASE WHEN score < 16 THEN 0
         WHEN score < 32 THEN 24 + (score >> 1)
         WHEN score < 64 THEN 32 + (score >> 2)
         WHEN score < 128 THEN 40 + (score >> 3)
         WHEN score < 256 THEN 48 + (score >> 4)
         WHEN score < 512 THEN 56 + (score >> 5)
         WHEN score < 1024 THEN 64 + (score >> 6)
         WHEN score < 2048 THEN 72 + (score >> 7)
         WHEN score < 4096 THEN 80 + (score >> 8)
         WHEN score < 8192 THEN 88 + (score >> 9)
         WHEN score < 16384 THEN 96 + (score >> 10)
         WHEN score < 32768 THEN 104 + (score >> 11)
         WHEN score < 65536 THEN 112 + (score >> 12)
         WHEN score < 131072 THEN 120 + (score >> 13)
         WHEN score < 262144 THEN 128 + (score >> 14)
         WHEN score < 524288 THEN 136 + (score >> 15)
         WHEN score < 1048576 THEN 144 + (score >> 16)
         ELSE 160 END,
    hot, score, upvotes, downvotes, comments
FROM post_rank_before ORDER BY post_id;

DROP TABLE post_rank_before;

CREATE INDEX post_rank_hot ON post_rank (community_id, hot_band) WHERE community_id IS NOT NULL;
CREATE INDEX post_rank_top ON post_rank (top_band) WHERE community_id IS NOT NULL AND top_band > 0;

ALTER TABLE rank_change RENAME TO rank_change_before;

CREATE TABLE rank_change (
    seq          BIGINT NOT NULL,
    post_id      BIGINT NOT NULL,
    changed_at   BIGINT NOT NULL,
    community_id BIGINT,
    state        SMALLINT NOT NULL,
    created_at   BIGINT NOT NULL,
    hot          BIGINT NOT NULL,
    score        BIGINT NOT NULL,
    CONSTRAINT rank_change_key PRIMARY KEY (seq, post_id)
) WITH (fillfactor = 100);

INSERT INTO rank_change (seq, post_id, changed_at, community_id, state, created_at, hot, score)
SELECT seq, post_id, changed_at, community_id, state, created_at, hot, score FROM rank_change_before ORDER BY seq, post_id;

DROP TABLE rank_change_before;

ALTER TABLE account_tally RENAME TO account_tally_before;

CREATE TABLE account_tally (
    account_id    BIGINT NOT NULL CONSTRAINT account_tally_key PRIMARY KEY,
    posts         BIGINT NOT NULL,
    comments      BIGINT NOT NULL,
    subscriptions BIGINT NOT NULL,
    subscribers   BIGINT NOT NULL,
    accepted      BIGINT NOT NULL
) WITH (fillfactor = 70);

INSERT INTO account_tally (account_id, posts, comments, subscriptions, subscribers, accepted)
SELECT account_id, posts, comments, subscriptions, subscribers, accepted FROM account_tally_before ORDER BY account_id;

DROP TABLE account_tally_before;

ALTER TABLE comment_tally RENAME TO comment_tally_before;

CREATE TABLE comment_tally (
    comment_id BIGINT NOT NULL CONSTRAINT comment_tally_key PRIMARY KEY,
    upvotes    BIGINT NOT NULL,
    downvotes  BIGINT NOT NULL,
    score      BIGINT NOT NULL,
    replies    BIGINT NOT NULL
) WITH (fillfactor = 70);

INSERT INTO comment_tally (comment_id, upvotes, downvotes, score, replies)
SELECT comment_id, upvotes, downvotes, score, replies FROM comment_tally_before ORDER BY comment_id;

DROP TABLE comment_tally_before;
