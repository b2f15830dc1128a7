-- +goose Up

-- What a community warns of, as a sum: 1 nsfw, 2 violence, 4 spoilers. NULL
-- until its profile is applied again, where it was there before.
ALTER TABLE community ADD COLUMN warnings SMALLINT;

-- The best of all communities, for lists of all times. Most posts never get
-- there, so most votes leave the index alone.
CREATE INDEX post_rank_best ON post_rank (score, post_id) WHERE community_id IS NOT NULL AND score >= 10;
