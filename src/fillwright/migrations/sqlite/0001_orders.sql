-- Orders as their last event left them, and every event. Times are milliseconds since the epoch, amounts atoms.

CREATE TABLE orders (
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
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'routing', 'building', 'submitted',
                                                        'confirmed', 'failed', 'canceled', 'expired')),
    seq              INTEGER NOT NULL CHECK (seq >= 1),
    attempts         INTEGER NOT NULL,
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
    CHECK ((due_at IS NULL) = (status IN ('confirmed', 'failed', 'canceled', 'expired'))),
    CHECK ((tx IS NOT NULL) = (status = 'submitted')),
    CHECK ((filled_in IS NOT NULL AND filled_out IS NOT NULL AND tx_hash IS NOT NULL) = (status = 'confirmed')),
    CHECK (filled_in IS NULL OR mode <> 'exactIn' OR filled_in <= amount),
    CHECK (filled_out IS NULL OR mode <> 'exactOut' OR filled_out >= amount)
) STRICT;

CREATE UNIQUE INDEX orders_client_order_id ON orders (account, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE UNIQUE INDEX orders_tx_hash ON orders (tx_hash) WHERE tx_hash IS NOT NULL;
CREATE INDEX orders_page ON orders (account, id);
CREATE INDEX orders_due ON orders (due_at) WHERE due_at IS NOT NULL;

-- Every key under which an order was ever asked for; an order may have several, a key has one order for ever.
CREATE TABLE idempotency_keys (
    account  TEXT NOT NULL,
    key      TEXT NOT NULL,
    order_id TEXT NOT NULL REFERENCES orders (id),
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_events (
    id       INTEGER PRIMARY KEY,
    order_id TEXT    NOT NULL REFERENCES orders (id),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    payload  BLOB    NOT NULL,
    UNIQUE (order_id, seq)
) STRICT;

CREATE TABLE workers (
    name    TEXT    NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT;

-- The name by which older engines kept their history.
CREATE VIEW order_status_history AS
    SELECT id, order_id, status, CAST(payload AS TEXT) AS payload, at AS created_at FROM order_events;
