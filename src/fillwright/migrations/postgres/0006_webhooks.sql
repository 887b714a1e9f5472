-- Webhooks, and what is to be sent to them. Times are milliseconds since the epoch, by this database's clock. Secrets are
-- kept as they are: a signature cannot be made from a hash.

CREATE TABLE webhooks (
    id                text   COLLATE "C" NOT NULL PRIMARY KEY,
    account           text   COLLATE "C" NOT NULL,
    url               text   NOT NULL,
    events            text   COLLATE "C" NOT NULL,
    description       text   NOT NULL,
    secrets           bytea  NOT NULL,
    off               text   COLLATE "C" CHECK (off IN ('asked', 'gone', 'failing')),
    failing_since     bigint,
    created_at        bigint NOT NULL,
    idempotency_key   text   COLLATE "C",
    fingerprint       bytea  NOT NULL,
    revision          integer NOT NULL,
    place_transaction bigint NOT NULL, -- up to where in the log of events its messages were made
    place_id          bigint NOT NULL
);

CREATE INDEX webhooks_account ON webhooks (account, created_at, id);
CREATE UNIQUE INDEX webhooks_key ON webhooks (account, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE webhook_deliveries (
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text   COLLATE "C" NOT NULL UNIQUE,
    webhook_id   text   COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    type         text   COLLATE "C" NOT NULL,
    order_id     text   COLLATE "C",
    seq          integer,
    claim        integer NOT NULL DEFAULT 0,
    state        text   COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    tries        integer NOT NULL DEFAULT 0,
    status       integer,
    error        text,
    created_at   bigint NOT NULL,
    tried_at     bigint,
    due_at       bigint,
    leased_until bigint, -- somebody is sending it
    CHECK ((due_at IS NOT NULL) = (state = 'waiting'))
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_page ON webhook_deliveries (webhook_id, number);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (created_at) WHERE due_at IS NOT NULL;
