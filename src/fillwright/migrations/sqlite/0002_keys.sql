-- API keys, known by the hash of their secret, and tickets that open one stream each. Times are milliseconds since the
-- epoch. A revoked key stays, so that its orders can be traced to it and its id is never given again.

CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    account    TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    limits     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE INDEX api_keys_active ON api_keys (id) WHERE revoked_at IS NULL;

CREATE TABLE stream_tickets (
    digest     BLOB    NOT NULL PRIMARY KEY,
    key_id     TEXT,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_tickets_expired ON stream_tickets (expires_at);
