-- What the older schema cannot say is given up: uploads without a length, parts, refused ones.
DELETE FROM uploads WHERE length_bytes < 0 OR concat <> '' OR failure IS NOT NULL;
DROP INDEX uploads_by_name;
DROP INDEX uploads_by_whole;
ALTER TABLE uploads DROP COLUMN failure;
ALTER TABLE uploads DROP COLUMN part_of;
ALTER TABLE uploads DROP COLUMN concat;
ALTER TABLE uploads DROP COLUMN name;
