-- +goose Up

-- For finding !name@instance.
CREATE INDEX community_name ON community (hosted_by, name) WHERE hosted_by IS NOT NULL;
