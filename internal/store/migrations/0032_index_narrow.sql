-- +goose Up

-- Rows that votes rewrite, narrower: the widest columns first, counters of four
-- bytes, and bands of heat four times as wide (rank.go), which a vote leaves
-- less often. A page of PostgreSQL holds a third more of them.
ALTER TABLE post_rank RENAME TO post_rank_before;

CREATE TABLE post_rank (
    post_id      BIGINT NOT NULL CONSTRAINT post_rank_id PRIMARY KEY,
    community_id BIGINT,
    created_at   BIGINT NOT NULL,
    hot          BIGINT NOT NULL,
    score        INTEGER NOT NULL,
    upvotes      INTEGER NOT NULL,
    downvotes    INTEGER NOT NULL,
    comments     INTEGER NOT NULL,
    hot_band     INTEGER NOT NULL,
    top_band     SMALLINT NOT NULL,
    state        SMALLINT NOT NULL
) WITH (fillfactor = 70);

INSERT INTO post_rank (post_id, community_id, created_at, hot, score, upvotes, downvotes, comments, hot_band, top_band, state)
SELECT post_id, community_id, created_at, hot, score, upvotes, downvotes, comments, hot >> 22, top_band, state
FROM post_rank_before ORDER BY post_id;

DROP TABLE post_rank_before;

CREATE INDEX post_rank_hot ON post_rank (community_id, hot_band) WHERE community_id IS NOT NULL;
CREATE INDEX post_rank_top ON post_rank (top_band) WHERE community_id IS NOT NULL AND top_band > 0;

-- What the transaction seq moved: many posts to a row, from where to where
-- (move.go), because a row for each costs as much as the vote itself. What was
-- remembered of the last ten minutes is forgotten.
DROP TABLE rank_change;

CREATE TABLE rank_change (
    seq        BIGINT NOT NULL,
    part       BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    moves      BYTEA NOT NULL,
    CONSTRAINT rank_change_key PRIMARY KEY (seq, part)
);

-- Whoever would have read it looks at everything instead.
UPDATE community_seen SET seen_at = 0;
