-- What lists show of a report, which is much larger (summary.rs). Images that were checked before get
-- theirs when the service starts.
ALTER TABLE images ADD COLUMN summary TEXT;
CREATE INDEX images_without_summary ON images (id) WHERE summary IS NULL AND report IS NOT NULL;

-- Lists are counted and paged over these alone, without a look at the rows.
DROP INDEX images_live;
CREATE INDEX images_live ON images (account_id, deleted_at, id);
DROP INDEX droplets_live;
CREATE INDEX droplets_live ON droplets (account_id, deleted_at, id);
