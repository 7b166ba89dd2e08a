-- Lists of snapshots, and of images that are none, are counted and paged over this alone: what was added
-- to a row lies behind its report, all of which would have to be read on the way.
DROP INDEX images_live;
CREATE INDEX images_live ON images (account_id, deleted_at, id, droplet_id);
