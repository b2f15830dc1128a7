-- +goose Up

-- One row: a value sealed with the instance's key. Who cannot open it holds the
-- wrong key and must not write anything.
CREATE TABLE key_check (
    id         BIGINT NOT NULL PRIMARY KEY,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

-- One row, rewritten by the readiness check to prove that writing works.
CREATE TABLE write_check (
    id         BIGINT NOT NULL PRIMARY KEY,
    written_at BIGINT NOT NULL
);
