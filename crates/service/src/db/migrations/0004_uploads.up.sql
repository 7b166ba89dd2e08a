-- Uploads whose length is not known yet have the length -1. An upload that was made by PUT has the
-- name that its client chose. concat is the Upload-Concat header of tus, as it came: `partial`, or
-- `final;…` with the partial uploads that make the whole, whose part_of names the whole. failure is
-- why an upload was refused; its bytes are gone then.
ALTER TABLE uploads ADD COLUMN name TEXT;
ALTER TABLE uploads ADD COLUMN concat TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN part_of TEXT;
ALTER TABLE uploads ADD COLUMN failure TEXT;
CREATE INDEX uploads_by_whole ON uploads (part_of);
CREATE UNIQUE INDEX uploads_by_name ON uploads (account_id, name);
