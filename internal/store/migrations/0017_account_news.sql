-- +goose Up

-- Since when those who follow accounts (sessions) are to be told of a change
-- of identity or status; NULL when they know.
ALTER TABLE account ADD COLUMN news_at BIGINT;

CREATE INDEX account_news ON account (news_at, id) WHERE news_at IS NOT NULL;
