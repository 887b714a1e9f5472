-- Orders that rest: a status of its own, what they have seen meanwhile, and a log of their events alone.

ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN (
    'pending', 'open', 'routing', 'building', 'submitted', 'confirmed', 'failed', 'canceled', 'expired'));
ALTER TABLE orders ADD COLUMN intent_seq integer NOT NULL DEFAULT 1 CHECK (intent_seq BETWEEN 1 AND seq);
ALTER TABLE orders ADD COLUMN standing json;
ALTER TABLE orders ADD CONSTRAINT orders_open_check
    CHECK (status <> 'open' OR (standing IS NOT NULL AND worker IS NULL));

-- Its condition names no column that a market order changes on its way, so that its updates stay in their page.
CREATE INDEX orders_resting ON orders (id) WHERE type <> 'market' AND due_at IS NOT NULL;

ALTER TABLE order_events ADD COLUMN resting boolean NOT NULL DEFAULT false;
CREATE INDEX order_events_resting ON order_events (txid, id) WHERE resting;
