-- What an action was asked for with, as JSON, so that its job can be repeated after a crash.
ALTER TABLE actions ADD COLUMN parameters TEXT;

-- Features that a machine was asked for with, as a JSON array: clients compare them with what they sent.
ALTER TABLE droplets ADD COLUMN features TEXT NOT NULL DEFAULT '[]';
-- GB of a machine's disk, if that is not what its size has: a disk never shrinks.
ALTER TABLE droplets ADD COLUMN disk_gb BIGINT;
-- The canonical image below the disk that is about to replace the machine's disk.
ALTER TABLE droplets ADD COLUMN next_digest TEXT;

-- The machine that an image is a snapshot of.
ALTER TABLE images ADD COLUMN droplet_id BIGINT;
CREATE INDEX images_by_droplet ON images (droplet_id);
