DROP INDEX images_by_checksum;
