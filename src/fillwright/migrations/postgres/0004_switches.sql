-- Dead-man's switches: when an account's open orders are canceled, unless it is heard of before. Milliseconds since the
-- epoch, by this database's clock.

CREATE TABLE switches (
    account  text COLLATE "C" NOT NULL PRIMARY KEY,
    fires_at bigint NOT NULL
);

CREATE INDEX switches_fires_at ON switches (fires_at, account);
