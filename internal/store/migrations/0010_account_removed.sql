-- +goose Up

-- When the content of an account that its host calls deleted was removed here.
ALTER TABLE account ADD COLUMN removed_at BIGINT;

CREATE INDEX account_inactive ON account (status_at) WHERE NOT active;
