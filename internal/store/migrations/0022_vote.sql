-- +goose Up

-- Whose turn it is to vote on something as somebody. A row that is over belongs
-- to whoever comes next.
CREATE TABLE vote_turn (
    did          TEXT COLLATE "C" NOT NULL,
    subject_hash BYTEA NOT NULL,
    owner        TEXT NOT NULL,
    ends_at      BIGINT NOT NULL,
    PRIMARY KEY (did, subject_hash)
);

-- What requests to vote that can be repeated have come to, by the record key
-- that was chosen for them. Kept as long as that key.
CREATE TABLE vote_request (
    did        TEXT COLLATE "C" NOT NULL,
    rkey       TEXT COLLATE "C" NOT NULL,
    withdraws  BOOLEAN NOT NULL,
    done       BOOLEAN NOT NULL,
    cid        TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    PRIMARY KEY (did, rkey)
);

CREATE INDEX vote_request_created ON vote_request (created_at);
