-- What each signed transaction may spend, for the caps of a live wallet. A row is an order's present or filled transaction:
-- `filled_before` is what the order had swapped before it, so another attempt replaces the one before, and a later slice
-- does not. Times are milliseconds since the epoch, by this database's clock; amounts are atoms.

CREATE TABLE spendings (
    order_id      text   COLLATE "C" NOT NULL,
    filled_before bigint NOT NULL,
    mint          text   COLLATE "C" NOT NULL,
    amount        bigint NOT NULL CHECK (amount > 0),
    at            bigint NOT NULL,
    PRIMARY KEY (order_id, filled_before, mint)
);

CREATE INDEX spendings_day ON spendings (mint, at);
