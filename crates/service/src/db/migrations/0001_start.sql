-- Times are unix seconds, sizes bytes, enumerations the words of the wire types.

CREATE TABLE accounts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    email       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE tokens (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    sha256      TEXT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE ssh_keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key  TEXT NOT NULL,
    UNIQUE (account_id, fingerprint)
);

-- The bytes are in a file named by the id. received_bytes counts what is synced to disk.
CREATE TABLE uploads (
    id             TEXT PRIMARY KEY,
    account_id     BIGINT NOT NULL REFERENCES accounts (id),
    length_bytes   BIGINT NOT NULL,
    received_bytes BIGINT NOT NULL DEFAULT 0,
    metadata       TEXT NOT NULL,
    updated_at     BIGINT NOT NULL
);

CREATE TABLE images (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    name          TEXT NOT NULL,
    description   TEXT NOT NULL,
    distribution  TEXT NOT NULL,
    tags          TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    stage         TEXT NOT NULL,
    error_message TEXT NOT NULL DEFAULT '',
    upload_id     TEXT,
    digest        TEXT,
    format        TEXT,
    virtual_bytes BIGINT,
    stored_bytes  BIGINT,
    report        TEXT,
    deleted_at    BIGINT
);
CREATE INDEX images_by_account ON images (account_id, id);
CREATE UNIQUE INDEX images_by_upload ON images (upload_id);
CREATE INDEX images_by_digest ON images (digest);

CREATE TABLE image_regions (
    image_id    BIGINT NOT NULL REFERENCES images (id),
    region      TEXT NOT NULL,
    status      TEXT NOT NULL,
    reason      TEXT,
    PRIMARY KEY (image_id, region)
);

-- An action is also the job that carries it out. A worker holds it until lease_until; ready is 0
-- while it waits for something else: an image's last byte, or its first region.
CREATE TABLE actions (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id     BIGINT NOT NULL REFERENCES accounts (id),
    kind           TEXT NOT NULL,
    resource_type  TEXT NOT NULL,
    resource_id    BIGINT NOT NULL,
    region         TEXT,
    status         TEXT NOT NULL,
    reason         TEXT,
    started_at     BIGINT NOT NULL,
    completed_at   BIGINT,
    progress_done  BIGINT,
    progress_total BIGINT,
    ready          INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    lease_owner    TEXT,
    lease_until    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX actions_by_account ON actions (account_id, id);
CREATE INDEX actions_by_resource ON actions (resource_type, resource_id);
CREATE INDEX actions_open ON actions (status, ready, lease_until);

CREATE TABLE droplets (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   BIGINT NOT NULL REFERENCES accounts (id),
    name         TEXT NOT NULL,
    region       TEXT NOT NULL,
    size         TEXT NOT NULL,
    image_id     BIGINT NOT NULL REFERENCES images (id),
    digest       TEXT NOT NULL,
    address      TEXT NOT NULL,
    ssh_port     INTEGER NOT NULL,
    ssh_keys     TEXT NOT NULL,
    user_data    TEXT,
    tags         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    status       TEXT NOT NULL,
    reason       TEXT,
    deleted_at   BIGINT,
    -- Cleared once the hypervisor has let go of the machine, and its address with it.
    on_host      INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX droplets_by_account ON droplets (account_id, id);
CREATE UNIQUE INDEX droplets_by_address ON droplets (address) WHERE on_host = 1;
