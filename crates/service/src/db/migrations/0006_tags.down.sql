DROP INDEX droplets_by_image;
DROP INDEX droplets_live;
DROP INDEX images_by_name;
DROP INDEX images_live;

UPDATE images SET tags = (SELECT '[' || COALESCE(GROUP_CONCAT('"' || REPLACE(REPLACE(t.name, '\', '\\'), '"', '\"') || '"', ','), '') || ']'
    FROM tag_links l JOIN tags t ON t.id = l.tag_id
    WHERE l.resource_type = 'image' AND l.resource_id = images.id)
    WHERE id IN (SELECT resource_id FROM tag_links WHERE resource_type = 'image');
UPDATE droplets SET tags = (SELECT '[' || COALESCE(GROUP_CONCAT('"' || REPLACE(REPLACE(t.name, '\', '\\'), '"', '\"') || '"', ','), '') || ']'
    FROM tag_links l JOIN tags t ON t.id = l.tag_id
    WHERE l.resource_type = 'droplet' AND l.resource_id = droplets.id)
    WHERE id IN (SELECT resource_id FROM tag_links WHERE resource_type = 'droplet');

DROP TABLE tag_links;
DROP TABLE tags;
