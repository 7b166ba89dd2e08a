DROP INDEX droplets_by_node;
ALTER TABLE droplets DROP COLUMN node;
ALTER TABLE image_regions DROP COLUMN position;
