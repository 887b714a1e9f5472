-- What each signed transaction may spend, for the caps of a live wallet. A row is an order's present or filled transaction:
-- `filled_before` is what the order had swapped before it, so another attempt replaces the one before, and a later slice
-- does not. Times are milliseconds since the epoch, amounts atoms.

CREATE TABLE spendings (
    order_id      TEXT    NOT NULL REFERENCES orders (id),
    filled_before INTEGER NOT NULL,
    mint          TEXT    NOT NULL,
    amount        INTEGER NOT NULL CHECK (amount > 0),
    at            INTEGER NOT NULL,
    PRIMARY KEY (order_id, filled_before, mint)
) STRICT, WITHOUT ROWID;

CREATE INDEX spendings_day ON spendings (mint, at);
