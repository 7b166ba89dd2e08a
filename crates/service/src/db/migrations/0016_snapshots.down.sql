DROP INDEX images_live;
CREATE INDEX images_live ON images (account_id, deleted_at, id);
