-- A database of Abbild as it was at commit 5862e94, before migrations 0004 and 0008 to 0011, with rows
-- in every table: made by that commit's migrations and sqlx' records of them, and written by `sqlite3 abbild.db .dump`.
-- tests/it/migrations.rs uses it. The token of account 1 is `abb_of_the_first_release`.

PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
INSERT INTO _sqlx_migrations VALUES(1,'start','2025-11-24 16:00:00',1,X'fece53a963f7007a327d2af596be4fce421d8834cff04d0be8775494f78b48c9badd76110b438eb1cef1040e634135f7',1000000);
INSERT INTO _sqlx_migrations VALUES(2,'nodes','2025-11-24 16:00:00',1,X'0b4b4d675ef325fbaa8fb3e07d801e9c3f7c44279ae30229cd5a585cc20a14978da07309f1518fadd943fa7204dbfe56',1000000);
INSERT INTO _sqlx_migrations VALUES(5,'fetch','2025-11-24 16:00:00',1,X'5e19de53d9189c2d83fe836911a298aee4248fd279f6020e3bd17672176f4297f541aee50c69557d8846c40c9984130a',1000000);
INSERT INTO _sqlx_migrations VALUES(6,'tags','2025-11-24 16:00:00',1,X'441a47b3c304166a789915dc0645509c3d41fe5018bd1338c72a2e63692ae720ba75475f7a53db43d1a1f9eda8759dcf',1000000);
INSERT INTO _sqlx_migrations VALUES(7,'idempotency','2025-11-24 16:00:00',1,X'5c43f38b5c9deedfa85f673eb6a058f4ed2306068a41f3f87f5be5595d9bcb48fd10dcdd669ba24564695050046210db',1000000);
CREATE TABLE accounts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    email       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
INSERT INTO accounts VALUES(1,'7b0d2c52-8f0e-4b6c-9d0a-3a8f7a1c5e11','First account','admin@localhost',1764000000);
INSERT INTO accounts VALUES(2,'c3c0f6a4-6f5c-4a57-8a2b-1d4b5e0f9a22','Zweites Konto','zwei@example.org',1764000060);
CREATE TABLE tokens (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    sha256      TEXT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);
INSERT INTO tokens VALUES(1,1,'made at first start','6ffcad47b079c897e0c6a546f1ad3e616ca88974dfacb096e11f11e457a2ca6e',1764000000);
INSERT INTO tokens VALUES(2,2,'made by an operator','abababababababababababababababababababababababababababababababab',1764000061);
CREATE TABLE ssh_keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key  TEXT NOT NULL,
    UNIQUE (account_id, fingerprint)
);
INSERT INTO ssh_keys VALUES(1,1,'me','b8:41:51:69:d7:da:f5:d7:5a:a0:9b:d9:43:98:cd:6b','ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBn0JrSY7l2qf0cqD2ZsVYq0eYqGq2m3F1o1u8c2aK5d me');
CREATE TABLE uploads (
    id             TEXT PRIMARY KEY,
    account_id     BIGINT NOT NULL REFERENCES accounts (id),
    length_bytes   BIGINT NOT NULL,
    received_bytes BIGINT NOT NULL DEFAULT 0,
    metadata       TEXT NOT NULL,
    updated_at     BIGINT NOT NULL
);
INSERT INTO uploads VALUES('5b0c1f7e2a3d4c5b6a7988776655443322110011',1,1048576,65536,'filename ZGViaWFuLmltZw==',1764000400);
INSERT INTO uploads VALUES('9e8d7c6b5a493827160514233241506978879600',1,541065216,2097152,'',1764000500);
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
, checksum TEXT);
INSERT INTO images VALUES(1,1,'debian','ours, with „Umlauten“','Debian','[]',1764000100,'available','',NULL,'6b89c48ea262d7fe6213ade767b298be7d8394290a580f24a31583ce535b274c','qcow2',4294967296,190840832,NULL,NULL,NULL);
INSERT INTO images VALUES(2,1,'arriving','','Unknown','[]',1764000400,'receiving','','5b0c1f7e2a3d4c5b6a7988776655443322110011',NULL,NULL,NULL,NULL,NULL,NULL,'sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f');
INSERT INTO images VALUES(3,1,'broken','','Ubuntu','[]',1764000200,'failed','the partition table is damaged',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO images VALUES(4,1,'gone','','Unknown','[]',1764000250,'available','',NULL,'1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f','raw',1073741824,4096,NULL,1764000300,NULL);
INSERT INTO images VALUES(5,1,'fetched','','Unknown','[]',1764000500,'failed','the import was called off','9e8d7c6b5a493827160514233241506978879600',NULL,NULL,NULL,NULL,NULL,1764000510,NULL);
INSERT INTO images VALUES(6,2,'debian','','Debian','[]',1764000600,'available','',NULL,'6b89c48ea262d7fe6213ade767b298be7d8394290a580f24a31583ce535b274c','qcow2',4294967296,190840832,NULL,NULL,NULL);
CREATE TABLE image_regions (
    image_id    BIGINT NOT NULL REFERENCES images (id),
    region      TEXT NOT NULL,
    status      TEXT NOT NULL,
    reason      TEXT, position BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (image_id, region)
);
INSERT INTO image_regions VALUES(1,'nbg1','available',NULL,1);
INSERT INTO image_regions VALUES(1,'hal1','failed','the copy had another digest',0);
INSERT INTO image_regions VALUES(2,'hal1','pending',NULL,0);
INSERT INTO image_regions VALUES(3,'hal1','failed','the import failed',0);
INSERT INTO image_regions VALUES(6,'hal1','available',NULL,0);
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
INSERT INTO actions VALUES(1,1,'create','image',1,'nbg1','completed',NULL,1764000100,1764000110,190840832,190840832,1,1,NULL,0);
INSERT INTO actions VALUES(2,1,'transfer','image',1,'hal1','errored','the copy had another digest',1764000120,1764000121,NULL,NULL,1,1,NULL,0);
INSERT INTO actions VALUES(3,1,'create','image',2,'hal1','in-progress',NULL,1764000400,NULL,NULL,NULL,0,0,NULL,0);
INSERT INTO actions VALUES(4,1,'create','image',3,'hal1','errored','the partition table is damaged',1764000200,1764000201,NULL,NULL,1,1,NULL,0);
INSERT INTO actions VALUES(5,1,'create','droplet',1,'nbg1','completed',NULL,1764000700,1764000702,NULL,NULL,1,1,NULL,0);
INSERT INTO actions VALUES(6,1,'power_off','droplet',1,'nbg1','completed',NULL,1764000720,1764000721,NULL,NULL,1,1,NULL,0);
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
, node TEXT);
INSERT INTO droplets VALUES(1,1,'web','nbg1','s-1vcpu-1gb',1,'6b89c48ea262d7fe6213ade767b298be7d8394290a580f24a31583ce535b274c','127.64.0.2',22,'["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBn0JrSY7l2qf0cqD2ZsVYq0eYqGq2m3F1o1u8c2aK5d me"]','#cloud-config','[]',1764000700,'off',NULL,NULL,1,'2f6f1ab0-35c5-4b0e-a2f5-0a1c9d7b3e44');
INSERT INTO droplets VALUES(2,1,'old','hal1','s-1vcpu-1gb',1,'6b89c48ea262d7fe6213ade767b298be7d8394290a580f24a31583ce535b274c','127.64.0.3',22,'[]',NULL,'[]',1764000130,'off',NULL,1764000150,0,'2f6f1ab0-35c5-4b0e-a2f5-0a1c9d7b3e44');
CREATE TABLE fetches (
    upload_id   TEXT PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    url         TEXT NOT NULL,
    total_bytes BIGINT,
    validator   TEXT,
    begun_at    BIGINT
);
INSERT INTO fetches VALUES('9e8d7c6b5a493827160514233241506978879600','https://images.example.org/debian.qcow2?signature=secret',541065216,'"5f3c"',1764000500);
CREATE TABLE tags (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO tags VALUES(1,1,'web',1764000090);
INSERT INTO tags VALUES(2,1,'blue:green',1764000091);
INSERT INTO tags VALUES(3,2,'web',1764000092);
CREATE TABLE tag_links (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tag_id        BIGINT NOT NULL REFERENCES tags (id),
    resource_type TEXT NOT NULL,
    resource_id   BIGINT NOT NULL
);
INSERT INTO tag_links VALUES(1,1,'image',1);
INSERT INTO tag_links VALUES(2,2,'image',1);
INSERT INTO tag_links VALUES(3,1,'droplet',1);
INSERT INTO tag_links VALUES(4,3,'image',6);
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
INSERT INTO idempotency_keys VALUES(1,'a6c1','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','0f5e3c',1764000100,1764000100,1,202,'{"content-type":"application/json"}','{}');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('accounts',2);
INSERT INTO sqlite_sequence VALUES('tokens',2);
INSERT INTO sqlite_sequence VALUES('ssh_keys',1);
INSERT INTO sqlite_sequence VALUES('images',6);
INSERT INTO sqlite_sequence VALUES('actions',6);
INSERT INTO sqlite_sequence VALUES('droplets',2);
INSERT INTO sqlite_sequence VALUES('tags',3);
INSERT INTO sqlite_sequence VALUES('tag_links',4);
CREATE INDEX images_by_account ON images (account_id, id);
CREATE UNIQUE INDEX images_by_upload ON images (upload_id);
CREATE INDEX images_by_digest ON images (digest);
CREATE INDEX actions_by_account ON actions (account_id, id);
CREATE INDEX actions_by_resource ON actions (resource_type, resource_id);
CREATE INDEX actions_open ON actions (status, ready, lease_until);
CREATE INDEX droplets_by_account ON droplets (account_id, id);
CREATE UNIQUE INDEX droplets_by_address ON droplets (address) WHERE on_host = 1;
CREATE INDEX droplets_by_node ON droplets (node);
CREATE UNIQUE INDEX tags_by_name ON tags (account_id, LOWER(name));
CREATE UNIQUE INDEX tag_links_by_tag ON tag_links (tag_id, resource_type, resource_id);
CREATE INDEX tag_links_by_resource ON tag_links (resource_type, resource_id);
CREATE INDEX images_live ON images (account_id, id) WHERE deleted_at IS NULL;
CREATE INDEX images_by_name ON images (account_id, LOWER(name)) WHERE deleted_at IS NULL;
CREATE INDEX droplets_live ON droplets (account_id, id) WHERE deleted_at IS NULL;
CREATE INDEX droplets_by_image ON droplets (image_id, region);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
COMMIT;
