-- +goose Up

-- The application's sign-in that an attempt is for; empty: for the browser itself.
ALTER TABLE login_attempt ADD COLUMN app_login_id TEXT COLLATE "C" NOT NULL DEFAULT '';
