-- +goose Up

-- The record key that a member's subscription or block has, chosen before it is
-- first written: of several requests at once, all write the same record.
CREATE TABLE community_key (
    did        TEXT COLLATE "C" NOT NULL,
    collection TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    rkey       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (did, collection, subject)
);

-- Lists of blocks name the record that counts. NULL in rows from before.
ALTER TABLE person_block ADD COLUMN cid TEXT COLLATE "C";
ALTER TABLE community_block ADD COLUMN cid TEXT COLLATE "C";
