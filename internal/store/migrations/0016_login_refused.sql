-- +goose Up

-- A browser without the binding cookie came back; the audit trail has it once.
ALTER TABLE login_attempt ADD COLUMN refused BOOLEAN NOT NULL DEFAULT false;
