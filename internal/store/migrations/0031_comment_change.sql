-- +goose Up

-- Where comments stood before the transaction seq moved them, as rank_change has
-- it for posts. under_id is NULL for one that was nowhere.
CREATE TABLE comment_change (
    seq        BIGINT NOT NULL,
    comment_id BIGINT NOT NULL,
    root_id    BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    under_id   BIGINT,
    created_at BIGINT NOT NULL,
    hot        BIGINT NOT NULL,
    score      BIGINT NOT NULL,
    CONSTRAINT comment_change_key PRIMARY KEY (seq, comment_id)
) WITH (fillfactor = 100);
