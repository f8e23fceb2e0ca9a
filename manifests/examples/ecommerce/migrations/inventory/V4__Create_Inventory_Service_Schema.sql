-- What is in stock, what of it is kept for somebody, and how it came and went.
--
-- Nothing is sold twice: reserve_inventory has buyers of one product take turns on its row, and a CHECK holds that no more
-- is reserved than there is, whoever writes. A reservation counts for 5 minutes.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE inventory_categories (
    id uuid DEFAULT gen_random_uuid(),
    name text NOT NULL,
    default_reorder_level integer NOT NULL DEFAULT 0,
    CONSTRAINT inventory_categories_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_categories_name_key UNIQUE (name),
    CONSTRAINT inventory_categories_reorder_level_is_not_negative CHECK (default_reorder_level >= 0)
);

CREATE TABLE inventory_suppliers (
    id uuid DEFAULT gen_random_uuid(),
    name text NOT NULL,
    email text NOT NULL,
    lead_time_days smallint NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inventory_suppliers_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_suppliers_name_key UNIQUE (name),
    CONSTRAINT inventory_suppliers_email_has_an_at CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    CONSTRAINT inventory_suppliers_lead_time_is_within_a_year CHECK (lead_time_days BETWEEN 0 AND 365)
);

CREATE TABLE inventory (
    product_id uuid,
    sku text NOT NULL,
    category_id uuid,
    supplier_id uuid,
    on_hand integer NOT NULL DEFAULT 0,
    reserved integer NOT NULL DEFAULT 0,
    available integer NOT NULL GENERATED ALWAYS AS (on_hand - reserved) STORED,
    reorder_level integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inventory_pkey PRIMARY KEY (product_id),
    CONSTRAINT inventory_sku_key UNIQUE (sku),
    CONSTRAINT inventory_category_fkey FOREIGN KEY (category_id) REFERENCES inventory_categories,
    CONSTRAINT inventory_supplier_fkey FOREIGN KEY (supplier_id) REFERENCES inventory_suppliers,
    CONSTRAINT inventory_reserved_is_there CHECK (reserved BETWEEN 0 AND on_hand),
    CONSTRAINT inventory_reorder_level_is_not_negative CHECK (reorder_level >= 0)
);

CREATE INDEX inventory_to_reorder ON inventory (supplier_id, product_id) WHERE on_hand - reserved <= reorder_level;
CREATE INDEX inventory_by_category ON inventory (category_id, available);

CREATE TABLE inventory_reservations (
    id uuid DEFAULT gen_random_uuid(),
    product_id uuid NOT NULL,
    order_id uuid NOT NULL,
    quantity integer NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE',
    reserved_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '5 minutes',
    CONSTRAINT inventory_reservations_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_reservations_product_fkey FOREIGN KEY (product_id) REFERENCES inventory,
    CONSTRAINT inventory_reservations_quantity_is_positive CHECK (quantity > 0),
    CONSTRAINT inventory_reservations_status_is_known
        CHECK (status IN ('ACTIVE', 'CONFIRMED', 'RELEASED', 'EXPIRED')),
    CONSTRAINT inventory_reservations_last_five_minutes
        CHECK (expires_at > reserved_at AND expires_at <= reserved_at + interval '5 minutes')
);

CREATE UNIQUE INDEX inventory_reservations_one_an_order ON inventory_reservations (order_id, product_id)
    WHERE status = 'ACTIVE';
CREATE INDEX inventory_reservations_to_expire ON inventory_reservations (product_id, expires_at)
    WHERE status = 'ACTIVE';

CREATE TABLE inventory_movements (
    id bigint GENERATED ALWAYS AS IDENTITY,
    product_id uuid NOT NULL,
    kind text NOT NULL,
    quantity integer NOT NULL,
    reservation_id uuid,
    note text NOT NULL DEFAULT '',
    moved_by text NOT NULL DEFAULT session_user,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT inventory_movements_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_movements_product_fkey FOREIGN KEY (product_id) REFERENCES inventory,
    CONSTRAINT inventory_movements_reservation_fkey FOREIGN KEY (reservation_id) REFERENCES inventory_reservations,
    CONSTRAINT inventory_movements_kind_is_known CHECK (kind IN ('RECEIPT', 'SALE', 'RETURN', 'ADJUSTMENT')),
    CONSTRAINT inventory_movements_quantity_is_not_zero CHECK (quantity <> 0),
    CONSTRAINT inventory_movements_sign_fits_the_kind
        CHECK (kind = 'ADJUSTMENT' OR (quantity < 0) = (kind = 'SALE'))
);

CREATE INDEX inventory_movements_by_product ON inventory_movements (product_id, moved_at DESC);

CREATE TABLE inventory_alerts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    product_id uuid NOT NULL,
    kind text NOT NULL,
    available integer NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz,
    CONSTRAINT inventory_alerts_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_alerts_product_fkey FOREIGN KEY (product_id) REFERENCES inventory,
    CONSTRAINT inventory_alerts_kind_is_known CHECK (kind IN ('LOW_STOCK', 'OUT_OF_STOCK')),
    CONSTRAINT inventory_alerts_resolved_after_raised CHECK (resolved_at >= raised_at)
);

CREATE UNIQUE INDEX inventory_alerts_one_open ON inventory_alerts (product_id, kind) WHERE resolved_at IS NULL;

-- A day's movements in figures, for reports; summarize_movements fills it.
CREATE TABLE inventory_analytics (
    day date,
    product_id uuid,
    received integer NOT NULL,
    sold integer NOT NULL,
    adjusted integer NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inventory_analytics_pkey PRIMARY KEY (day, product_id),
    CONSTRAINT inventory_analytics_product_fkey FOREIGN KEY (product_id) REFERENCES inventory
);

CREATE INDEX inventory_analytics_by_product ON inventory_analytics (product_id, day DESC);

CREATE TRIGGER touch BEFORE UPDATE ON inventory FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION raise_or_resolve_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.available <= NEW.reorder_level THEN
        INSERT INTO inventory_alerts (product_id, kind, available)
        VALUES (NEW.product_id, CASE NEW.available WHEN 0 THEN 'OUT_OF_STOCK' ELSE 'LOW_STOCK' END, NEW.available)
        ON CONFLICT (product_id, kind) WHERE resolved_at IS NULL DO NOTHING;
    ELSE
        UPDATE inventory_alerts SET resolved_at = clock_timestamp()
        WHERE product_id = NEW.product_id AND resolved_at IS NULL;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER raise_or_resolve_alerts AFTER UPDATE ON inventory
    FOR EACH ROW WHEN (OLD.available <> NEW.available OR OLD.reorder_level <> NEW.reorder_level)
    EXECUTE FUNCTION raise_or_resolve_alerts();

-- Has the reservations of a product expire whose 5 minutes are over; gives how many pieces are free again. The row of the
-- product is locked first, here as everywhere: so nobody waits in a circle.
CREATE FUNCTION expire_reservations(product uuid) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    freed integer;
BEGIN
    PERFORM FROM inventory WHERE product_id = product FOR UPDATE;
    WITH expired AS (
        UPDATE inventory_reservations SET status = 'EXPIRED'
        WHERE product_id = product AND status = 'ACTIVE' AND expires_at <= clock_timestamp()
        RETURNING quantity
    )
    SELECT coalesce(sum(quantity), 0) INTO freed FROM expired;
    IF freed > 0 THEN
        UPDATE inventory SET reserved = reserved - freed WHERE product_id = product;
    END IF;
    RETURN freed;
END
$$;

-- Keeps pieces of a product for an order, for 5 minutes: gives the reservation, or NULL in its place and how many there
-- are. Asked again for the same order, it gives the reservation that is there already. An order of several products
-- reserves them in the order of their ids, so that two orders never wait for each other.
--
-- Errors: no_data_found for a product that is not in stock at all.
CREATE FUNCTION reserve_inventory(
    product uuid, for_order uuid, pieces integer, OUT reservation uuid, OUT left_over integer
)
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
BEGIN
    PERFORM FROM inventory WHERE product_id = product FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'product % is not in stock', product USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM expire_reservations(product);
    SELECT id INTO reservation FROM inventory_reservations
    WHERE order_id = for_order AND product_id = product AND status = 'ACTIVE';
    SELECT available INTO left_over FROM inventory WHERE product_id = product;
    IF reservation IS NOT NULL OR left_over < pieces THEN
        RETURN;
    END IF;
    moment := clock_timestamp();  -- now() is from before the wait for the other buyers
    INSERT INTO inventory_reservations (product_id, order_id, quantity, reserved_at, expires_at)
    VALUES (product, for_order, pieces, moment, moment + interval '5 minutes')
    RETURNING id INTO reservation;
    UPDATE inventory SET reserved = reserved + pieces WHERE product_id = product
    RETURNING available INTO left_over;
END
$$;

-- A reservation becomes a sale (`sold`), or its pieces are free again. False where its time was over before: the buyer has
-- to reserve again.
CREATE FUNCTION close_reservation(reservation uuid, sold boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    product uuid;
    closed inventory_reservations;
BEGIN
    SELECT product_id INTO product FROM inventory_reservations WHERE id = reservation;
    PERFORM expire_reservations(product);
    UPDATE inventory_reservations SET status = CASE WHEN sold THEN 'CONFIRMED' ELSE 'RELEASED' END
    WHERE id = reservation AND status = 'ACTIVE'
    RETURNING * INTO closed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE inventory
    SET reserved = reserved - closed.quantity,
        on_hand = on_hand - CASE WHEN sold THEN closed.quantity ELSE 0 END
    WHERE product_id = product;
    IF sold THEN
        INSERT INTO inventory_movements (product_id, kind, quantity, reservation_id)
        VALUES (product, 'SALE', -closed.quantity, closed.id);
    END IF;
    RETURN true;
END
$$;

-- Pieces arrive, come back or are counted anew: the movement and the stock in one.
CREATE FUNCTION receive_inventory(product uuid, pieces integer, why text DEFAULT 'RECEIPT', remark text DEFAULT '')
RETURNS integer LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO inventory_movements (product_id, kind, quantity, note) VALUES (product, why, pieces, remark);
    UPDATE inventory SET on_hand = on_hand + pieces WHERE product_id = product RETURNING on_hand;
END;

-- Figures of a day (UTC), put in the place of those of before.
CREATE FUNCTION summarize_movements(of_day date) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO inventory_analytics (day, product_id, received, sold, adjusted)
    SELECT
        of_day, product_id,
        coalesce(sum(quantity) FILTER (WHERE kind IN ('RECEIPT', 'RETURN')), 0),
        coalesce(-sum(quantity) FILTER (WHERE kind = 'SALE'), 0),
        coalesce(sum(quantity) FILTER (WHERE kind = 'ADJUSTMENT'), 0)
    FROM inventory_movements
    WHERE moved_at >= of_day::timestamp AT TIME ZONE 'UTC' AND moved_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY product_id
    ON CONFLICT (day, product_id) DO UPDATE
    SET received = excluded.received, sold = excluded.sold, adjusted = excluded.adjusted, computed_at = now();
END;
