-- What a machine is made of (the JSON of abbild_api::Hardware), once it has a disk. Those that have one
-- already were all made alike.
ALTER TABLE droplets ADD COLUMN hardware TEXT;
UPDATE droplets SET hardware = '{"chipset":"i440fx","firmware":"bios","firmware_note":"an earlier version made this machine, and gave all machines the same","devices":"virtio","devices_note":"an earlier version made this machine, and gave all machines the same","sector_size":512}'
    WHERE on_host = 1 AND status IN ('active', 'off');
-- What it runs instead of its own system (JSON), while it is being rescued.
ALTER TABLE droplets ADD COLUMN rescue TEXT;

-- One-time proofs for consoles, for browsers, whose WebSockets carry no headers. Only the SHA-256 of
-- each is kept. `kind` is the console that it opens.
CREATE TABLE console_tickets (
    hash TEXT NOT NULL PRIMARY KEY,
    droplet_id BIGINT NOT NULL REFERENCES droplets (id),
    kind TEXT NOT NULL,
    -- Who is told to others that they have the keyboard.
    holder TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
