ALTER TABLE droplets DROP COLUMN forwards;
