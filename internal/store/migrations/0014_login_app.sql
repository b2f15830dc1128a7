-- +goose Up

-- Applications that wait for somebody to sign in. The row survives restarts and
-- is where the process that the browser reaches and the one that the application
-- waits at meet. id is public, the collection secret, the codes and proofs are
-- here as SHA-256 only. state: initiated, opened (the browser is at the PDS),
-- code_wanted, approved, and the ends delivered, denied, wrong_code, failed,
-- cancelled; a row past expires_at has expired.
CREATE TABLE app_login (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state           TEXT COLLATE "C" NOT NULL,
    identifier      TEXT NOT NULL,             -- who is to sign in, as typed
    name            TEXT NOT NULL,             -- what the application calls itself
    origin          TEXT COLLATE "C" NOT NULL, -- coarse address of the application
    secret_hash     BYTEA,                     -- NULL: nobody waits, see redirect_uri
    code_hash       BYTEA,
    tries           BIGINT NOT NULL,           -- wrong codes so far
    loopback_port   BIGINT NOT NULL,           -- 0: the application does not listen
    redirect_uri    TEXT NOT NULL,             -- of an application that is called back; else empty
    approver_hash   BYTEA,                     -- cookie of the browser that came back from the PDS
    proof_hash      BYTEA,                     -- what that browser carries to the loopback address
    did             TEXT COLLATE "C" NOT NULL, -- who signed in; empty before
    app_session_id  TEXT COLLATE "C" NOT NULL, -- its session; empty before
    salt            BYTEA,                     -- makes the session's secrets from the collection secret; NULL once acknowledged
    created_at      BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL
);
CREATE INDEX app_login_oldest ON app_login (state, created_at);
CREATE INDEX app_login_origin ON app_login (origin, state, created_at);
CREATE INDEX app_login_changed ON app_login (changed_at);
CREATE INDEX app_login_expires ON app_login (expires_at);
