-- +goose Up

-- How often in a row what a community says about its host could not be
-- confirmed.
ALTER TABLE community ADD COLUMN host_tries BIGINT NOT NULL DEFAULT 0;

-- Rows that only say up to which revision there is no record, oldest first:
-- those that are old enough are removed.
CREATE INDEX post_gone ON post (rev) WHERE deleted AND rev > 0;
CREATE INDEX comment_gone ON comment (rev) WHERE deleted AND rev > 0;
CREATE INDEX vote_gone ON vote (rev) WHERE value = 0;
CREATE INDEX subscription_gone ON subscription (rev) WHERE subject_id IS NULL;
CREATE INDEX person_block_gone ON person_block (rev) WHERE subject_id IS NULL;
CREATE INDEX community_block_gone ON community_block (rev) WHERE subject_id IS NULL;

-- The greatest revision of which such rows were removed. What is not later is
-- not applied any more: nothing would hold it back.
ALTER TABLE ingest_repo ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0;
