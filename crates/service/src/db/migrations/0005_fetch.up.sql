-- An upload that the service fills itself, from a URL. It goes with the upload. The validator is
-- an ETag or Last-Modified of the version whose first received_bytes the upload has.
CREATE TABLE fetches (
    upload_id   TEXT PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    url         TEXT NOT NULL,
    total_bytes BIGINT,
    validator   TEXT,
    begun_at    BIGINT
);

-- What the owner expects of the bytes that are sent or fetched, `sha256:HEX`.
ALTER TABLE images ADD COLUMN checksum TEXT;
