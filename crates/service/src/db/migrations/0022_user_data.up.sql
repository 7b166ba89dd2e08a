-- User data that is no text, or a text with a zero byte, which PostgreSQL cannot keep: as Base64, and then
-- user_data is null.
ALTER TABLE droplets ADD COLUMN user_data_base64 TEXT;
