DROP TABLE console_tickets;
ALTER TABLE droplets DROP COLUMN rescue;
ALTER TABLE droplets DROP COLUMN hardware;
