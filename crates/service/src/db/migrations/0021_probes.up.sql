-- What was seen of images when they were booted. Of each image there is the newest probe that came to its
-- end, and beside it perhaps one that runs: a row is written when a machine starts, and one that came to its
-- end replaces those before it.
CREATE TABLE probes (
    action_id BIGINT NOT NULL PRIMARY KEY,
    image_id BIGINT NOT NULL REFERENCES images (id),
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    region TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- NULL while it runs.
    finished_at BIGINT,
    -- JSON: the machine, and how far it came.
    record TEXT NOT NULL,
    -- What it printed, as plain text.
    serial_log TEXT NOT NULL DEFAULT '',
    -- A PNG in base64; NULL if the machine was off by then.
    screenshot TEXT
);
CREATE INDEX probes_by_image ON probes (image_id, action_id);
