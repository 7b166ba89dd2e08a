ALTER TABLE droplets DROP COLUMN user_data_base64;
