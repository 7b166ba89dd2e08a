-- Ports of a machine's address that lead into its guest, as a JSON array.
ALTER TABLE droplets ADD COLUMN forwards TEXT NOT NULL DEFAULT '[]';
