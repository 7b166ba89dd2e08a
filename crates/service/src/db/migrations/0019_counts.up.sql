-- How many images an account has that are not deleted, and are snapshots (1) or not (0): counting them
-- would take longer than all else that a page of a long list needs. Counted anew at each start.
CREATE TABLE image_counts (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    is_snapshot BIGINT NOT NULL,
    images BIGINT NOT NULL,
    PRIMARY KEY (account_id, is_snapshot)
);
