-- Hints of the queue where there is no Redis. Nothing here is worth a write-ahead log: after a crash the table is empty,
-- and the sweep finds the orders.

CREATE UNLOGGED TABLE hints (
    queue    text   COLLATE "C" NOT NULL,
    id       bigint GENERATED ALWAYS AS IDENTITY,
    order_id text   COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_threshold = 100000);
