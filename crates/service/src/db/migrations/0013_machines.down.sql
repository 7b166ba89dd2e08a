DROP INDEX images_by_droplet;
ALTER TABLE images DROP COLUMN droplet_id;
ALTER TABLE droplets DROP COLUMN next_digest;
ALTER TABLE droplets DROP COLUMN disk_gb;
ALTER TABLE droplets DROP COLUMN features;
ALTER TABLE actions DROP COLUMN parameters;
