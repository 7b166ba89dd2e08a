-- Images that are being removed from the store of a region. Whoever needs one again waits until
-- its row is gone or its lease has run out.
CREATE TABLE removals (
    region      TEXT NOT NULL,
    digest      TEXT NOT NULL,
    lease_owner TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (region, digest)
);
