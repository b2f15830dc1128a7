-- +goose Up

-- When aggregators were let post by their keys, for the bound of an hour. Rows go
-- when they are older than that.
CREATE TABLE aggregator_post (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    did       TEXT COLLATE "C" NOT NULL, -- of the aggregator
    community TEXT COLLATE "C" NOT NULL,
    posted_at BIGINT NOT NULL
);

CREATE INDEX aggregator_post_recent ON aggregator_post (did, community, posted_at);
CREATE INDEX aggregator_post_over ON aggregator_post (posted_at);
