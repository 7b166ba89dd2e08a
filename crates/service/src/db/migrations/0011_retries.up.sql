-- How often a job failed for a reason that may pass, and was put off. Until it is tried again,
-- lease_until is the time before which nobody takes it, without a lease_owner, and reason says why.
ALTER TABLE actions ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
