-- Tags have a table of their own. What was in the columns `tags` of images and droplets, JSON lists,
-- is moved at the next start, and the columns hold '[]' since.
CREATE TABLE tags (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tags_by_name ON tags (account_id, LOWER(name));

CREATE TABLE tag_links (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tag_id        BIGINT NOT NULL REFERENCES tags (id),
    resource_type TEXT NOT NULL,
    resource_id   BIGINT NOT NULL
);
CREATE UNIQUE INDEX tag_links_by_tag ON tag_links (tag_id, resource_type, resource_id);
CREATE INDEX tag_links_by_resource ON tag_links (resource_type, resource_id);

-- Lists are counted and paged over these alone.
CREATE INDEX images_live ON images (account_id, id) WHERE deleted_at IS NULL;
CREATE INDEX images_by_name ON images (account_id, LOWER(name)) WHERE deleted_at IS NULL;
CREATE INDEX droplets_live ON droplets (account_id, id) WHERE deleted_at IS NULL;
CREATE INDEX droplets_by_image ON droplets (image_id, region);
