-- The order in which an image's regions were asked for.
ALTER TABLE image_regions ADD COLUMN position BIGINT NOT NULL DEFAULT 0;

-- The process that has a machine on its host. Only it can work on the machine.
ALTER TABLE droplets ADD COLUMN node TEXT;
CREATE INDEX droplets_by_node ON droplets (node);
