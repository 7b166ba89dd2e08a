-- An older version does not know how to do them.
DELETE FROM actions WHERE resource_type = 'image' AND kind = 'probe';
DROP TABLE probes;
