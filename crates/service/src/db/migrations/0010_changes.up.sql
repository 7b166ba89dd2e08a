-- What customers follow live: for each image, droplet and action, the number of its last change.
-- Numbers only grow, and become visible in their order, because there is one writer at a time. An
-- object has one row however often it changes, so the table needs no cleaning up. Triggers keep it:
-- whatever moves a row cannot forget to tell.
CREATE TABLE changes (
    resource_type TEXT NOT NULL,
    resource_id   BIGINT NOT NULL,
    account_id    BIGINT NOT NULL,
    number        BIGINT NOT NULL,
    PRIMARY KEY (resource_type, resource_id)
);
CREATE UNIQUE INDEX changes_by_number ON changes (number);
CREATE INDEX changes_by_account ON changes (account_id, number);

-- [sqlite]
CREATE TRIGGER images_inserted AFTER INSERT ON images BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('image', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER images_updated AFTER UPDATE ON images BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('image', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER image_regions_inserted AFTER INSERT ON image_regions BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT 'image', o.id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM images o WHERE o.id = NEW.image_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER image_regions_updated AFTER UPDATE ON image_regions BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT 'image', o.id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM images o WHERE o.id = NEW.image_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER image_regions_deleted AFTER DELETE ON image_regions BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT 'image', o.id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM images o WHERE o.id = OLD.image_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER tag_links_inserted AFTER INSERT ON tag_links BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT NEW.resource_type, NEW.resource_id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM tags o WHERE o.id = NEW.tag_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER tag_links_deleted AFTER DELETE ON tag_links BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT OLD.resource_type, OLD.resource_id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM tags o WHERE o.id = OLD.tag_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER uploads_updated AFTER UPDATE OF received_bytes ON uploads BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    SELECT 'image', o.id, o.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes)
    FROM images o WHERE o.upload_id = NEW.id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER actions_inserted AFTER INSERT ON actions BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('action', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES (NEW.resource_type, NEW.resource_id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER actions_updated AFTER UPDATE ON actions
WHEN OLD.status IS NOT NEW.status OR OLD.progress_done IS NOT NEW.progress_done
    OR OLD.progress_total IS NOT NEW.progress_total BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('action', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES (NEW.resource_type, NEW.resource_id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER droplets_inserted AFTER INSERT ON droplets BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('droplet', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;
CREATE TRIGGER droplets_updated AFTER UPDATE ON droplets BEGIN
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES ('droplet', NEW.id, NEW.account_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
END;

-- [postgres]
CREATE FUNCTION abbild_touch(kind TEXT, id BIGINT, account BIGINT) RETURNS VOID AS $$
    INSERT INTO changes (resource_type, resource_id, account_id, number)
    VALUES (kind, id, account, (SELECT COALESCE(MAX(number), 0) + 1 FROM changes))
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET number = excluded.number;
$$ LANGUAGE sql;

CREATE FUNCTION abbild_changed() RETURNS TRIGGER AS $$
DECLARE
    item RECORD;
BEGIN
    IF TG_OP = 'DELETE' THEN item := OLD; ELSE item := NEW; END IF;
    IF TG_TABLE_NAME = 'images' THEN
        PERFORM abbild_touch('image', item.id, item.account_id);
    ELSIF TG_TABLE_NAME = 'image_regions' THEN
        PERFORM abbild_touch('image', o.id, o.account_id) FROM images o WHERE o.id = item.image_id;
    ELSIF TG_TABLE_NAME = 'tag_links' THEN
        PERFORM abbild_touch(item.resource_type, item.resource_id, o.account_id)
            FROM tags o WHERE o.id = item.tag_id;
    ELSIF TG_TABLE_NAME = 'uploads' THEN
        PERFORM abbild_touch('image', o.id, o.account_id) FROM images o WHERE o.upload_id = item.id;
    ELSIF TG_TABLE_NAME = 'actions' THEN
        PERFORM abbild_touch('action', item.id, item.account_id);
        PERFORM abbild_touch(item.resource_type, item.resource_id, item.account_id);
    ELSE
        PERFORM abbild_touch('droplet', item.id, item.account_id);
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER changed AFTER INSERT OR UPDATE ON images
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON image_regions
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER changed AFTER INSERT OR DELETE ON tag_links
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER changed AFTER UPDATE OF received_bytes ON uploads
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER inserted AFTER INSERT ON actions
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER updated AFTER UPDATE ON actions
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status
        OR OLD.progress_done IS DISTINCT FROM NEW.progress_done
        OR OLD.progress_total IS DISTINCT FROM NEW.progress_total)
    EXECUTE FUNCTION abbild_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE ON droplets
    FOR EACH ROW EXECUTE FUNCTION abbild_changed();
