-- Orders with a schedule are filled slice by slice: the amounts filled are the sum so far, in any status, beside the hash of
-- the latest fill. A process of the version before leaves that hash out: an order that it confirms has it as its tx_hash.

ALTER TABLE orders ADD COLUMN fill_hash text COLLATE "C";

DO $$
DECLARE
    name text;
BEGIN -- the condition that only a confirmed order is filled; it was given no name of its own
    SELECT conname INTO STRICT name FROM pg_constraint
     WHERE conrelid = 'orders'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%fill_slot IS NOT NULL%';
    EXECUTE format('ALTER TABLE orders DROP CONSTRAINT %I', name);
END $$;

ALTER TABLE orders ADD CONSTRAINT orders_fill_check
    CHECK (CASE WHEN filled_in IS NULL THEN num_nonnulls(filled_out, fill_slot, fill_hash) = 0
                ELSE num_nulls(filled_out, fill_slot, coalesce(fill_hash, tx_hash)) = 0 END);
ALTER TABLE orders ADD CONSTRAINT orders_confirmed_check CHECK (filled_in IS NOT NULL OR status <> 'confirmed');
ALTER TABLE orders ADD CONSTRAINT orders_partly_check
    CHECK (filled_in IS NULL OR status = 'confirmed' OR type IN ('twap', 'dca'));
ALTER TABLE orders ADD CONSTRAINT orders_slices_check
    CHECK (type NOT IN ('twap', 'dca') OR (mode = 'exactIn' AND (status <> 'confirmed' OR filled_in = amount)));
