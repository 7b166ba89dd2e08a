-- What an operator allows one account, where it differs from the configuration. Without a value
-- there is no limit.
CREATE TABLE quotas (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    quota      TEXT NOT NULL,
    value      BIGINT,
    PRIMARY KEY (account_id, quota)
);
