-- Orders tied to each other: of a group at most one may be on its way or filled. For all other orders neither column ever
-- changes, so that their updates stay in their page.

ALTER TABLE orders ADD COLUMN link_group text COLLATE "C";
ALTER TABLE orders ADD COLUMN holds boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX orders_held ON orders (link_group) WHERE holds;
