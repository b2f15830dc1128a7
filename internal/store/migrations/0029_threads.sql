-- +goose Up

-- What a comment that is gone once answered, so that its answers stay where
-- they are. Of one that was never here it is what its answers say.
ALTER TABLE comment ADD COLUMN gone_root BIGINT;
ALTER TABLE comment ADD COLUMN gone_parent BIGINT;

UPDATE comment SET gone_root = (SELECT max(r.root_id) FROM comment r WHERE r.parent_id = comment.id AND r.root_id IS NOT NULL)
WHERE deleted;

-- The narrow rows that threads are made from. under_id is what is answered, a
-- comment or the post itself. A comment that is gone has a row as long as one of
-- its answers has.
CREATE TABLE comment_rank (
    comment_id BIGINT NOT NULL CONSTRAINT comment_rank_key PRIMARY KEY,
    under_id   BIGINT NOT NULL,
    root_id    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    hot        BIGINT NOT NULL,
    score      BIGINT NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX comment_rank_hot ON comment_rank (under_id, hot, comment_id);
CREATE INDEX comment_rank_top ON comment_rank (under_id, score, comment_id);
CREATE INDEX comment_rank_new ON comment_rank (under_id, created_at, comment_id);

-- Their votes weigh in hot from the next one on.
INSERT INTO comment_rank (comment_id, under_id, root_id, created_at, hot, score)
SELECT c.id, COALESCE(c.parent_id, c.root_id), c.root_id, c.created_at, (c.created_at - 1735689600000000) / 45000, COALESCE(t.score, 0)
FROM comment c LEFT JOIN comment_tally t ON t.comment_id = c.id
WHERE NOT c.deleted AND c.root_id IS NOT NULL;

INSERT INTO comment_rank (comment_id, under_id, root_id, created_at, hot, score)
SELECT c.id, c.gone_root, c.gone_root, 0, -38570880000, 0 FROM comment c WHERE c.deleted AND c.gone_root IS NOT NULL;

-- A comment is named by its key within its thread.
CREATE INDEX comment_tid ON comment (tid);
