-- Webhooks, and what is to be sent to them. Times are milliseconds since the epoch. Secrets are kept as they are: a
-- signature cannot be made from a hash.

CREATE TABLE webhooks (
    id                TEXT    NOT NULL PRIMARY KEY,
    account           TEXT    NOT NULL,
    url               TEXT    NOT NULL,
    events            TEXT    NOT NULL,
    description       TEXT    NOT NULL,
    secrets           BLOB    NOT NULL,
    off               TEXT    CHECK (off IN ('asked', 'gone', 'failing')),
    failing_since     INTEGER,
    created_at        INTEGER NOT NULL,
    idempotency_key   TEXT,
    fingerprint       BLOB    NOT NULL,
    revision          INTEGER NOT NULL,
    place_transaction INTEGER NOT NULL, -- up to where in the log of events its messages were made
    place_id          INTEGER NOT NULL
) STRICT;

CREATE INDEX webhooks_account ON webhooks (account, created_at, id);
CREATE UNIQUE INDEX webhooks_key ON webhooks (account, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE webhook_deliveries (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    webhook_id   TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    type         TEXT    NOT NULL,
    order_id     TEXT,
    seq          INTEGER,
    claim        INTEGER NOT NULL DEFAULT 0,
    state        TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    tries        INTEGER NOT NULL DEFAULT 0,
    status       INTEGER,
    error        TEXT,
    created_at   INTEGER NOT NULL,
    tried_at     INTEGER,
    due_at       INTEGER,
    leased_until INTEGER, -- somebody is sending it
    CHECK ((due_at IS NOT NULL) = (state = 'waiting'))
) STRICT;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_page ON webhook_deliveries (webhook_id, number);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (created_at) WHERE due_at IS NOT NULL;
