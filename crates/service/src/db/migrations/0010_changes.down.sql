-- [sqlite]
DROP TRIGGER images_inserted;
DROP TRIGGER images_updated;
DROP TRIGGER image_regions_inserted;
DROP TRIGGER image_regions_updated;
DROP TRIGGER image_regions_deleted;
DROP TRIGGER tag_links_inserted;
DROP TRIGGER tag_links_deleted;
DROP TRIGGER uploads_updated;
DROP TRIGGER actions_inserted;
DROP TRIGGER actions_updated;
DROP TRIGGER droplets_inserted;
DROP TRIGGER droplets_updated;
-- [postgres]
DROP TRIGGER changed ON images;
DROP TRIGGER changed ON image_regions;
DROP TRIGGER changed ON tag_links;
DROP TRIGGER changed ON uploads;
DROP TRIGGER inserted ON actions;
DROP TRIGGER updated ON actions;
DROP TRIGGER changed ON droplets;
DROP FUNCTION abbild_changed();
DROP FUNCTION abbild_touch(TEXT, BIGINT, BIGINT);
-- [both]
DROP TABLE changes;
