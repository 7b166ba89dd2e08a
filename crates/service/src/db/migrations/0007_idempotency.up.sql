-- Requests that carried an Idempotency-Key. `request` is a digest of credential, method, path and
-- body; `attempt` names the one run that may write on its behalf; `effective` is 1 once one of its
-- transactions was committed. `status` is set with the answer; headers (JSON) and body are absent
-- where an answer may not be kept because it holds a secret.
CREATE TABLE idempotency_keys (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    name       TEXT NOT NULL,
    request    TEXT NOT NULL,
    attempt    TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    begun_at   BIGINT NOT NULL,
    effective  BIGINT NOT NULL DEFAULT 0,
    status     BIGINT,
    headers    TEXT,
    body       TEXT,
    PRIMARY KEY (account_id, name)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
