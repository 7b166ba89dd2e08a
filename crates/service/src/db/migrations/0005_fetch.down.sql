DROP TABLE fetches;
ALTER TABLE images DROP COLUMN checksum;
