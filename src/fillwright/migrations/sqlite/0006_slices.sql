-- Orders with a schedule are filled slice by slice: the amounts filled are the sum so far, in any status, beside the hash of
-- the latest fill. The conditions of a table cannot be changed in place, so it is made anew.

CREATE TABLE orders_sliced (
    id               TEXT    NOT NULL PRIMARY KEY,
    account          TEXT    NOT NULL,
    client_order_id  TEXT,
    fingerprint      BLOB    NOT NULL,
    type             TEXT    NOT NULL,
    side             TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    mode             TEXT    NOT NULL CHECK (mode IN ('exactIn', 'exactOut')),
    token_in         TEXT    NOT NULL,
    token_out        TEXT    NOT NULL CHECK (token_out <> token_in),
    amount           INTEGER NOT NULL CHECK (amount > 0),
    slippage_bps     INTEGER NOT NULL CHECK (slippage_bps BETWEEN 0 AND 10000),
    intent           BLOB    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'open', 'routing', 'building', 'submitted',
                                                        'confirmed', 'failed', 'canceled', 'expired')),
    seq              INTEGER NOT NULL CHECK (seq >= 1),
    attempts         INTEGER NOT NULL CHECK (attempts >= 0),
    worker           TEXT,
    cancel_requested INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    due_at           INTEGER,
    deadline_at      INTEGER,
    route            BLOB,
    tx               BLOB,
    tx_hash          TEXT,
    filled_in        INTEGER,
    filled_out       INTEGER,
    fill_slot        INTEGER,
    failure_reason   TEXT,
    problem          BLOB,
    standing         BLOB,
    fill_hash        TEXT,
    CHECK ((due_at IS NULL) = (status IN ('confirmed', 'failed', 'canceled', 'expired'))),
    CHECK ((tx IS NOT NULL) = (status = 'submitted')),
    CHECK ((filled_in IS NULL) = (filled_out IS NULL) AND (filled_in IS NULL) = (fill_slot IS NULL)
           AND (filled_in IS NULL) = (fill_hash IS NULL)),
    CHECK (filled_in IS NOT NULL OR status <> 'confirmed'),
    CHECK (filled_in IS NULL OR status = 'confirmed' OR type IN ('twap', 'dca')),
    CHECK (type NOT IN ('twap', 'dca') OR (mode = 'exactIn' AND (status <> 'confirmed' OR filled_in = amount))),
    CHECK (filled_in IS NULL OR mode <> 'exactIn' OR filled_in <= amount),
    CHECK (filled_out IS NULL OR mode <> 'exactOut' OR filled_out >= amount),
    CHECK (status <> 'open' OR (standing IS NOT NULL AND worker IS NULL))
) STRICT;

INSERT INTO orders_sliced SELECT *, iif(filled_in IS NULL, NULL, tx_hash) FROM orders;
DROP TABLE orders;
ALTER TABLE orders_sliced RENAME TO orders;

CREATE UNIQUE INDEX orders_client_order_id ON orders (account, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE UNIQUE INDEX orders_tx_hash ON orders (tx_hash) WHERE tx_hash IS NOT NULL;
CREATE INDEX orders_page ON orders (account, id);
CREATE INDEX orders_due ON orders (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX orders_open ON orders (id) WHERE status = 'open';

-- One signature belongs to one attempt of one order, for ever.
ALTER TABLE order_events ADD COLUMN tx_hash TEXT;
UPDATE order_events SET tx_hash = CAST(payload AS TEXT) ->> '$.tx.signature' WHERE event = 'signed';
CREATE UNIQUE INDEX order_events_tx_hash ON order_events (tx_hash) WHERE tx_hash IS NOT NULL;
