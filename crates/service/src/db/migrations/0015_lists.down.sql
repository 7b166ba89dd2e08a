DROP INDEX images_without_summary;
ALTER TABLE images DROP COLUMN summary;
DROP INDEX images_live;
CREATE INDEX images_live ON images (account_id, id) WHERE deleted_at IS NULL;
DROP INDEX droplets_live;
CREATE INDEX droplets_live ON droplets (account_id, id) WHERE deleted_at IS NULL;
