-- +goose Up

-- What the transaction seq may have changed in what is shown: the posts and the
-- accounts (docs/decisions/0014). Rows are kept as long as those of rank_change.
CREATE TABLE shown_change (
    seq        BIGINT NOT NULL CONSTRAINT shown_change_key PRIMARY KEY,
    changed_at BIGINT NOT NULL,
    trace      BYTEA NOT NULL
) WITH (fillfactor = 100);
