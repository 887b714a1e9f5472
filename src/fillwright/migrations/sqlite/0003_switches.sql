-- Dead-man's switches: when an account's open orders are canceled, unless it is heard of before.

CREATE TABLE switches (
    account  TEXT    NOT NULL PRIMARY KEY,
    fires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
