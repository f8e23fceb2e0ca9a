-- Orders, from the cart's last click to the door, and the events that tell the other services of them.
--
-- The rules: an order comes to 10 to 10,000 dollars, has 1 to 50 items, and nobody has more than 5 pending orders.
-- validate_order_business_rules tells an application beforehand; constraints hold them, whoever writes.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE orders (
    id uuid DEFAULT gen_random_uuid(),
    order_number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'PENDING',
    -- Which of the user's five places a pending order takes: what is unique can't be taken twice, at any isolation level.
    pending_slot smallint,
    currency text NOT NULL DEFAULT 'USD',
    subtotal numeric(10, 2) NOT NULL,
    shipping numeric(10, 2) NOT NULL DEFAULT 0,
    tax numeric(10, 2) NOT NULL DEFAULT 0,
    discount numeric(10, 2) NOT NULL DEFAULT 0,
    total numeric(10, 2) NOT NULL GENERATED ALWAYS AS (subtotal + shipping + tax - discount) STORED,
    shipping_address jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_order_number_key UNIQUE (order_number),
    CONSTRAINT orders_status_is_known
        CHECK (status IN ('PENDING', 'CONFIRMED', 'PAID', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'REFUNDED')),
    CONSTRAINT orders_currency_is_dollars CHECK (currency = 'USD'),
    CONSTRAINT orders_total_is_10_to_10000 CHECK (total BETWEEN 10 AND 10000),
    CONSTRAINT orders_parts_are_not_negative CHECK (least(subtotal, shipping, tax, discount) >= 0),
    CONSTRAINT orders_pending_has_a_slot CHECK ((status = 'PENDING') = (pending_slot IS NOT NULL)),
    CONSTRAINT orders_five_pending_a_user CHECK (pending_slot BETWEEN 1 AND 5),
    CONSTRAINT orders_address_is_an_object CHECK (jsonb_typeof(shipping_address) = 'object')
);

CREATE UNIQUE INDEX orders_pending_slot_is_taken_once ON orders (user_id, pending_slot) WHERE status = 'PENDING';
CREATE INDEX orders_by_user ON orders (user_id, created_at DESC);
CREATE INDEX orders_open_by_status ON orders (status, created_at) WHERE status NOT IN ('DELIVERED', 'CANCELLED', 'REFUNDED');
CREATE INDEX orders_shipping_address ON orders USING gin (shipping_address jsonb_path_ops);

CREATE TABLE order_items (
    order_id uuid,
    -- Numbered, and no number is above 50: so there are no more than 50.
    line_number smallint,
    product_id uuid NOT NULL,
    sku text NOT NULL,
    product_name text NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(10, 2) NOT NULL,
    line_total numeric(12, 2) NOT NULL GENERATED ALWAYS AS (quantity * unit_price) STORED,
    CONSTRAINT order_items_pkey PRIMARY KEY (order_id, line_number),
    CONSTRAINT order_items_order_fkey FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    CONSTRAINT order_items_product_key UNIQUE (order_id, product_id),
    CONSTRAINT order_items_fifty_an_order CHECK (line_number BETWEEN 1 AND 50),
    CONSTRAINT order_items_quantity_is_positive CHECK (quantity > 0),
    CONSTRAINT order_items_price_is_positive CHECK (unit_price > 0)
);

CREATE INDEX order_items_by_product ON order_items (product_id);

CREATE TABLE order_status_history (
    id bigint GENERATED ALWAYS AS IDENTITY,
    order_id uuid NOT NULL,
    from_status text,
    to_status text NOT NULL,
    changed_by text NOT NULL DEFAULT session_user,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT order_status_history_pkey PRIMARY KEY (id),
    CONSTRAINT order_status_history_order_fkey FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    CONSTRAINT order_status_history_is_a_change CHECK (from_status IS DISTINCT FROM to_status)
);

CREATE INDEX order_status_history_by_order ON order_status_history (order_id, changed_at);

CREATE TABLE order_notes (
    id bigint GENERATED ALWAYS AS IDENTITY,
    order_id uuid NOT NULL,
    author text NOT NULL,
    body text NOT NULL,
    is_internal boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT order_notes_pkey PRIMARY KEY (id),
    CONSTRAINT order_notes_order_fkey FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    CONSTRAINT order_notes_body_is_not_blank CHECK (btrim(body) <> '')
);

CREATE INDEX order_notes_by_order ON order_notes (order_id, created_at);

CREATE TABLE order_fulfillment (
    id uuid DEFAULT gen_random_uuid(),
    order_id uuid NOT NULL,
    carrier text NOT NULL,
    tracking_number text,
    status text NOT NULL DEFAULT 'PREPARING',
    shipped_at timestamptz,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT order_fulfillment_pkey PRIMARY KEY (id),
    CONSTRAINT order_fulfillment_order_fkey FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    CONSTRAINT order_fulfillment_tracking_key UNIQUE (carrier, tracking_number),
    CONSTRAINT order_fulfillment_status_is_known CHECK (status IN ('PREPARING', 'SHIPPED', 'DELIVERED', 'RETURNED')),
    CONSTRAINT order_fulfillment_shipped_has_a_number
        CHECK (status = 'PREPARING' OR (tracking_number IS NOT NULL AND shipped_at IS NOT NULL)),
    CONSTRAINT order_fulfillment_delivered_after_shipped CHECK (delivered_at >= shipped_at)
);

CREATE INDEX order_fulfillment_by_order ON order_fulfillment (order_id);

-- A request that is sent again is answered as it was the first time.
CREATE TABLE idempotency_keys (
    user_id uuid,
    key text,
    request_digest bytea NOT NULL,
    response_code smallint,
    response jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT idempotency_keys_digest_is_sha256 CHECK (length(request_digest) = 32),
    CONSTRAINT idempotency_keys_expire_later CHECK (expires_at > created_at),
    CONSTRAINT idempotency_keys_answer_is_whole CHECK ((response_code IS NULL) = (response IS NULL))
);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- Events, written in the transaction that they tell of and published by workers afterwards: at least once.
CREATE TABLE outbox_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    aggregate_type text NOT NULL,
    aggregate_id uuid NOT NULL,
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    priority smallint NOT NULL DEFAULT 5,
    status text NOT NULL DEFAULT 'PENDING',
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 8,
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_by text,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    CONSTRAINT outbox_events_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_events_status_is_known CHECK (status IN ('PENDING', 'CLAIMED', 'PUBLISHED', 'DEAD_LETTER')),
    CONSTRAINT outbox_events_priority_is_1_to_9 CHECK (priority BETWEEN 1 AND 9),
    CONSTRAINT outbox_events_attempts_are_bounded CHECK (attempts BETWEEN 0 AND max_attempts),
    CONSTRAINT outbox_events_published_has_a_time CHECK ((status = 'PUBLISHED') = (published_at IS NOT NULL)),
    CONSTRAINT outbox_events_claimed_by_somebody CHECK ((status = 'CLAIMED') = (claimed_by IS NOT NULL))
);

-- A claimed event is due again when its claim ends: both wait in one index, in the order in which they are taken.
CREATE INDEX outbox_events_waiting ON outbox_events (priority, due_at, id) WHERE status IN ('PENDING', 'CLAIMED');
CREATE INDEX outbox_events_dead ON outbox_events (created_at) WHERE status = 'DEAD_LETTER';
CREATE INDEX outbox_events_by_aggregate ON outbox_events (aggregate_type, aggregate_id, id);
CREATE INDEX outbox_events_payload ON outbox_events USING gin (payload jsonb_path_ops);

CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON order_fulfillment FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- A place among the user's pending orders. The lock has two orders of one user take turns; without it both would choose
-- the same place, and one would fail on the index although another place is free.
CREATE FUNCTION take_pending_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'PENDING' THEN
        NEW.pending_slot := NULL;
    ELSIF TG_OP = 'UPDATE' AND OLD.status = 'PENDING' AND OLD.user_id = NEW.user_id THEN
        NEW.pending_slot := OLD.pending_slot;
    ELSE
        PERFORM pg_advisory_xact_lock(hashtextextended('orders of user ' || NEW.user_id, 0));
        SELECT min(slot) INTO NEW.pending_slot FROM generate_series(1, 5) AS slot
        WHERE NOT EXISTS (
            SELECT FROM orders WHERE user_id = NEW.user_id AND status = 'PENDING' AND pending_slot = slot
        );
        IF NEW.pending_slot IS NULL THEN
            RAISE EXCEPTION 'user % has 5 pending orders', NEW.user_id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_five_pending_a_user', TABLE = 'orders',
                HINT = 'Pay for one of them, or cancel one.';
        END IF;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER take_pending_slot BEFORE INSERT OR UPDATE OF status, user_id, pending_slot ON orders
    FOR EACH ROW EXECUTE FUNCTION take_pending_slot();

CREATE FUNCTION note_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO order_status_history (order_id, to_status) VALUES (NEW.id, NEW.status);
    ELSE
        INSERT INTO order_status_history (order_id, from_status, to_status) VALUES (NEW.id, OLD.status, NEW.status);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER note_first_status AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note_status();
CREATE TRIGGER note_status AFTER UPDATE OF status ON orders
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_status();

-- Looked at when the transaction ends, since an order is written before its items.
CREATE FUNCTION check_order_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong orders;
BEGIN
    SELECT * INTO wrong FROM orders
    WHERE id IN ((to_jsonb(NEW) ->> TG_ARGV[0])::uuid, (to_jsonb(OLD) ->> TG_ARGV[0])::uuid)
        AND subtotal IS DISTINCT FROM (SELECT sum(line_total) FROM order_items WHERE order_id = orders.id);
    IF FOUND THEN
        RAISE EXCEPTION 'the items of order % do not come to its subtotal, %', wrong.id, wrong.subtotal
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_add_up', TABLE = 'orders',
            HINT = 'Write an order and its items in one transaction.';
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER orders_add_up AFTER INSERT OR UPDATE OF subtotal ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_order_adds_up('id');
CREATE CONSTRAINT TRIGGER orders_add_up AFTER INSERT OR UPDATE OR DELETE ON order_items
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_order_adds_up('order_id');

-- The rules that an order would break, none where it may be placed.
CREATE FUNCTION validate_order_business_rules(customer uuid, order_total numeric, item_count integer)
RETURNS TABLE (rule text, message text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT rules.rule, rules.message
    FROM (
        VALUES
            ('minimum_total', 'An order comes to 10 dollars at least.', order_total >= 10),
            ('maximum_total', 'An order comes to 10,000 dollars at most.', order_total <= 10000),
            ('item_count', 'An order has 1 to 50 items.', item_count BETWEEN 1 AND 50),
            (
                'pending_orders',
                'Nobody has more than 5 pending orders.',
                (SELECT count(*) FROM orders WHERE user_id = customer AND status = 'PENDING') < 5
            )
    ) AS rules (rule, message, holds)
    WHERE holds IS NOT TRUE;  -- a NULL holds nothing
END;

-- Events for one worker to publish, the most urgent first, until `for_how_long` is over: then another may have them.
-- Those that were claimed as often as they may be, and never reported on, are dead letters.
CREATE FUNCTION claim_outbox_events(
    worker text, most integer DEFAULT 10, for_how_long interval DEFAULT interval '1 minute'
)
RETURNS SETOF outbox_events LANGUAGE sql
BEGIN ATOMIC
    UPDATE outbox_events
    SET status = 'DEAD_LETTER', claimed_by = NULL, last_error = coalesce(last_error, 'claimed, and never reported on')
    WHERE id IN (
        SELECT id FROM outbox_events
        WHERE status = 'CLAIMED' AND due_at <= clock_timestamp() AND attempts = max_attempts
        FOR UPDATE SKIP LOCKED
    );
    WITH claimed AS (
        UPDATE outbox_events
        SET status = 'CLAIMED', claimed_by = worker, attempts = attempts + 1, due_at = clock_timestamp() + for_how_long
        -- An array, not IN: a join could run the query with its LIMIT more than once.
        WHERE id = ANY (ARRAY(
            SELECT id FROM outbox_events
            WHERE status IN ('PENDING', 'CLAIMED') AND due_at <= clock_timestamp() AND attempts < max_attempts
            ORDER BY priority, due_at, id
            LIMIT most
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING *
    )
    SELECT * FROM claimed ORDER BY priority, id;
END;

-- What a worker says of an event that it claimed; false where that is not (or no longer) its own. Without an error it was
-- published. With one it is due again after 2, 4, 8 ... seconds, an hour at most; when all attempts are used up it is a
-- dead letter.
CREATE FUNCTION report_outbox_event(event bigint, worker text, error text DEFAULT NULL)
RETURNS boolean LANGUAGE sql
BEGIN ATOMIC
    WITH reported AS (
        UPDATE outbox_events
        SET claimed_by = NULL,
            last_error = error,
            published_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
            status = CASE
                WHEN error IS NULL THEN 'PUBLISHED'
                WHEN attempts < max_attempts THEN 'PENDING'
                ELSE 'DEAD_LETTER'
            END,
            due_at = CASE
                WHEN error IS NULL THEN due_at
                ELSE clock_timestamp() + least(interval '1 second' * 2 ^ least(attempts, 12), interval '1 hour')
            END
        WHERE id = event AND status = 'CLAIMED' AND claimed_by = worker
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM reported);
END;
