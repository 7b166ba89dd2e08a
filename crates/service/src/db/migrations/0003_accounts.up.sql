-- Who may do what, and who did. Scopes are words separated by spaces; tokens that were made before
-- there were scopes keep all of them.

ALTER TABLE accounts ADD COLUMN disabled_at BIGINT;
ALTER TABLE accounts ADD COLUMN disabled_reason TEXT NOT NULL DEFAULT '';

-- E-mail addresses are in lower case. The password is a PHC string. The OpenID Connect pair is set
-- when its owner first logs in that way.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    password      TEXT,
    oidc_issuer   TEXT,
    oidc_subject  TEXT,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT,
    last_login_at BIGINT
);
CREATE INDEX users_by_account ON users (account_id, id);
CREATE UNIQUE INDEX users_by_subject ON users (oidc_issuer, oidc_subject);

ALTER TABLE tokens ADD COLUMN user_id BIGINT;
ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read images vms admin';
ALTER TABLE tokens ADD COLUMN expires_at BIGINT;
ALTER TABLE tokens ADD COLUMN last_used_at BIGINT;
ALTER TABLE tokens ADD COLUMN revoked_at BIGINT;
CREATE INDEX tokens_by_account ON tokens (account_id, id);

CREATE TABLE sessions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      BIGINT NOT NULL REFERENCES users (id),
    sha256       TEXT NOT NULL UNIQUE,
    method       TEXT NOT NULL,
    address      TEXT NOT NULL,
    user_agent   TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, id);

-- Logins tried in vain, by `email:` or `address:` and what of it.
CREATE TABLE login_attempts (
    subject       TEXT PRIMARY KEY,
    failures      BIGINT NOT NULL,
    last_at       BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL
);

-- Logins by OpenID Connect that are under way: each row serves once, for the browser that holds
-- the cookie.
CREATE TABLE oidc_logins (
    state_sha256   TEXT PRIMARY KEY,
    browser_sha256 TEXT NOT NULL,
    nonce          TEXT NOT NULL,
    pkce_verifier  TEXT NOT NULL,
    return_to      TEXT NOT NULL,
    expires_at     BIGINT NOT NULL
);

-- Rows are only ever added, and removed when they are older than the operator keeps them. Names
-- are those of the time, and nothing refers to rows that may be deleted.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          BIGINT NOT NULL,
    account_id  BIGINT,
    actor       TEXT NOT NULL,
    actor_name  TEXT NOT NULL,
    user_id     BIGINT,
    token_id    BIGINT,
    action      TEXT NOT NULL,
    object_type TEXT,
    object_id   TEXT,
    outcome     TEXT NOT NULL,
    detail      TEXT NOT NULL,
    address     TEXT,
    request_id  TEXT
);
CREATE INDEX audit_by_account ON audit (account_id, id);
CREATE INDEX audit_by_time ON audit (at);
