-- The log of all events is read by (txid, id). An id is given before its transaction commits, so a reader that went by ids
-- alone would pass over one that becomes visible late. What is below the oldest transaction in progress is complete.
-- Events from before this migration come first, by id.

ALTER TABLE order_events ADD COLUMN txid bigint NOT NULL DEFAULT 0;
ALTER TABLE order_events ALTER COLUMN txid SET DEFAULT (pg_current_xact_id()::text::bigint);
CREATE INDEX order_events_log ON order_events (txid, id);
