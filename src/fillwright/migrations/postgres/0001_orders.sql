-- Orders as their last event left them, and every event. Amounts are atoms; due_at and deadline_at are milliseconds
-- since the epoch, as workers compare them.
--
-- An order is written four times within seconds, so its row is small, its page has room for the next versions, and no
-- index covers what changes on the way. What is long (intent, route, signed transaction) is read from its event.

CREATE TABLE orders (
    id               text     COLLATE "C" NOT NULL PRIMARY KEY,
    account          text     COLLATE "C" NOT NULL,
    client_order_id  text     COLLATE "C",
    fingerprint      bytea    NOT NULL,
    type             text     COLLATE "C" NOT NULL,
    side             text     COLLATE "C" NOT NULL CHECK (side IN ('buy', 'sell')),
    mode             text     COLLATE "C" NOT NULL CHECK (mode IN ('exactIn', 'exactOut')),
    token_in         text     COLLATE "C" NOT NULL,
    token_out        text     COLLATE "C" NOT NULL CHECK (token_out <> token_in),
    amount           bigint   NOT NULL CHECK (amount > 0),
    slippage_bps     integer  NOT NULL CHECK (slippage_bps BETWEEN 0 AND 10000),
    status           text     COLLATE "C" NOT NULL
                     CHECK (status IN ('pending', 'routing', 'building', 'submitted',
                                       'confirmed', 'failed', 'canceled', 'expired')),
    seq              integer  NOT NULL CHECK (seq >= 1),
    attempts         integer  NOT NULL,
    worker           text     COLLATE "C",
    cancel_requested boolean  NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    due_at           bigint,
    deadline_at      bigint,
    route_seq        integer CHECK (route_seq BETWEEN 1 AND seq), -- the event that has the route in force
    tx_seq           integer CHECK (tx_seq BETWEEN 1 AND seq),    -- the event that has the live transaction
    tx_hash          text     COLLATE "C",
    filled_in        bigint,
    filled_out       bigint,
    fill_slot        bigint,
    failure_reason   text,
    problem          json,
    CHECK ((due_at IS NULL) = (status IN ('confirmed', 'failed', 'canceled', 'expired'))),
    CHECK ((tx_seq IS NOT NULL) = (status = 'submitted')),
    CHECK ((filled_in IS NOT NULL AND filled_out IS NOT NULL AND fill_slot IS NOT NULL AND tx_hash IS NOT NULL)
           = (status = 'confirmed')),
    CHECK (filled_in IS NULL OR mode <> 'exactIn' OR filled_in <= amount),
    CHECK (filled_out IS NULL OR mode <> 'exactOut' OR filled_out >= amount)
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX orders_client_order_id ON orders (account, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE INDEX orders_page ON orders (account, id);
CREATE INDEX orders_due ON orders (due_at, id) WHERE due_at IS NOT NULL;

-- Every key under which an order was ever asked for; an order may have several, a key has one order for ever.
-- Neither this table nor the events have a foreign key: they are only ever written by the statement that writes the
-- order, orders are never deleted, and a foreign key would lock and rewrite the order's row for every event.
CREATE TABLE idempotency_keys (
    account  text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, key)
);

CREATE TABLE order_events (
    id         bigint  GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL,
    seq        integer NOT NULL,
    order_id   text    COLLATE "C" NOT NULL,
    status     text    COLLATE "C" NOT NULL,
    event      text    COLLATE "C" NOT NULL,
    tx_hash    text    COLLATE "C",
    payload    json    NOT NULL,
    PRIMARY KEY (order_id, seq)
) WITH (toast_tuple_target = 8160);

-- A route's payload of a few kB stays in its row as it is: compressing it costs more than the disk it saves.
ALTER TABLE order_events ALTER COLUMN payload SET STORAGE EXTERNAL;

-- One signature belongs to one attempt of one order, for ever.
CREATE UNIQUE INDEX order_events_tx_hash ON order_events (tx_hash) WHERE tx_hash IS NOT NULL;

CREATE TABLE workers (
    name    text COLLATE "C" NOT NULL PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

-- The name by which older engines kept their history.
CREATE VIEW order_status_history AS
    SELECT id, order_id, status, payload, created_at FROM order_events;
