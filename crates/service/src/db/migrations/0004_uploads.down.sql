-- What the older schema cannot say is given up: uploads without a length, parts, refused ones. An
-- image that waits for one of them would wait for ever, and fails.
UPDATE actions SET status = 'errored', reason = 'its upload was given up with a return to an older release',
    completed_at = (SELECT u.updated_at FROM images i JOIN uploads u ON u.id = i.upload_id
        WHERE i.id = actions.resource_id)
    WHERE status = 'in-progress' AND resource_type = 'image' AND resource_id IN
        (SELECT i.id FROM images i JOIN uploads u ON u.id = i.upload_id
        WHERE u.length_bytes < 0 OR u.concat <> '' OR u.failure IS NOT NULL);
UPDATE image_regions SET status = 'failed', reason = 'the import failed' WHERE image_id IN
    (SELECT i.id FROM images i JOIN uploads u ON u.id = i.upload_id
    WHERE u.length_bytes < 0 OR u.concat <> '' OR u.failure IS NOT NULL);
UPDATE images SET stage = 'failed', upload_id = NULL,
    error_message = 'its upload was given up with a return to an older release; upload it again'
    WHERE upload_id IN (SELECT id FROM uploads
    WHERE length_bytes < 0 OR concat <> '' OR failure IS NOT NULL);
DELETE FROM uploads WHERE length_bytes < 0 OR concat <> '' OR failure IS NOT NULL;
DROP INDEX uploads_by_name;
DROP INDEX uploads_by_whole;
ALTER TABLE uploads DROP COLUMN failure;
ALTER TABLE uploads DROP COLUMN part_of;
ALTER TABLE uploads DROP COLUMN concat;
ALTER TABLE uploads DROP COLUMN name;
