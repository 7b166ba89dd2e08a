-- The hardware address of a machine on a bridge, where no two may have the same. Machines without one
-- have a network to themselves, and one that follows from their id.
ALTER TABLE droplets ADD COLUMN mac TEXT;
