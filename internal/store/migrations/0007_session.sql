-- +goose Up

-- Why a live session is not to be used for the time being: its account is
-- deactivated, suspended or taken down at its server. Its tokens are kept.
-- Empty: nothing is in the way.
ALTER TABLE oauth_session ADD COLUMN paused TEXT COLLATE "C" NOT NULL DEFAULT '';

-- For counting sessions without reading their rows, which hold tokens.
CREATE INDEX oauth_session_counts ON oauth_session (state, ended_reason, paused, refresh_expires_at);
-- For removing those that ended long ago.
CREATE INDEX oauth_session_ended ON oauth_session (ended_at) WHERE state = 'ended';
