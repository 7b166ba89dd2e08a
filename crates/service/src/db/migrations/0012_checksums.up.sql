-- Images are looked for by what they were made from.
CREATE INDEX images_by_checksum ON images (checksum);
