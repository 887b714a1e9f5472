-- Orders tied to each other: of a group at most one may be on its way or filled.

ALTER TABLE orders ADD COLUMN link_group TEXT;
ALTER TABLE orders ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX orders_held ON orders (link_group) WHERE holds;
