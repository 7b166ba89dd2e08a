ALTER TABLE actions DROP COLUMN failures;
