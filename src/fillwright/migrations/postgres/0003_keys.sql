-- API keys, known by the hash of their secret, and tickets that open one stream each. Times are milliseconds since the
-- epoch. A revoked key stays, so that its orders can be traced to it and its id is never given again.

CREATE TABLE api_keys (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    account    text   COLLATE "C" NOT NULL,
    label      text   NOT NULL,
    scopes     text   COLLATE "C" NOT NULL,
    digest     bytea  NOT NULL CHECK (length(digest) = 32),
    limits     bytea  NOT NULL,
    created_at bigint NOT NULL,
    used_at    bigint,
    revoked_at bigint
);

CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;

CREATE TABLE stream_tickets (
    digest     bytea  NOT NULL PRIMARY KEY,
    key_id     text   COLLATE "C",
    expires_at bigint NOT NULL
);

CREATE INDEX stream_tickets_expired ON stream_tickets (expires_at);
