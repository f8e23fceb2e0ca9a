-- Payments for orders, and what the payment gateway said of them. No card number is ever here: the gateway's tokens are.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE payment_methods (
    id uuid DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    kind text NOT NULL,
    gateway_token text NOT NULL,
    brand text,
    last_four text,
    expires_on date,
    is_default boolean NOT NULL DEFAULT false,
    removed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_methods_pkey PRIMARY KEY (id),
    CONSTRAINT payment_methods_gateway_token_key UNIQUE (gateway_token),
    CONSTRAINT payment_methods_kind_is_known CHECK (kind IN ('CARD', 'BANK_ACCOUNT', 'WALLET')),
    CONSTRAINT payment_methods_card_is_described
        CHECK (kind <> 'CARD' OR (last_four IS NOT NULL AND brand IS NOT NULL AND expires_on IS NOT NULL)),
    CONSTRAINT payment_methods_last_four_are_four CHECK (last_four ~ '^[0-9]{4}$'),
    -- Nobody keeps a card number in the field for its token.
    CONSTRAINT payment_methods_token_is_no_card_number CHECK (gateway_token !~ '^[0-9 -]{12,}$'),
    CONSTRAINT payment_methods_default_is_not_removed CHECK (NOT is_default OR removed_at IS NULL)
);

CREATE UNIQUE INDEX payment_methods_one_default ON payment_methods (user_id) WHERE is_default;
CREATE INDEX payment_methods_by_user ON payment_methods (user_id) WHERE removed_at IS NULL;

CREATE TABLE payments (
    id uuid DEFAULT gen_random_uuid(),
    order_id uuid NOT NULL,
    user_id uuid NOT NULL,
    payment_method_id uuid NOT NULL,
    amount numeric(10, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'USD',
    status text NOT NULL DEFAULT 'PENDING',
    refunded_amount numeric(10, 2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payments_method_fkey FOREIGN KEY (payment_method_id) REFERENCES payment_methods,
    CONSTRAINT payments_amount_is_10_to_10000 CHECK (amount BETWEEN 10 AND 10000),
    CONSTRAINT payments_currency_is_dollars CHECK (currency = 'USD'),
    CONSTRAINT payments_status_is_known CHECK (
        status IN ('PENDING', 'AUTHORIZED', 'DECLINED', 'CAPTURED', 'VOIDED', 'PARTIALLY_REFUNDED', 'REFUNDED')
    ),
    CONSTRAINT payments_refunds_are_within_the_amount CHECK (refunded_amount BETWEEN 0 AND amount)
);

-- An order is paid for once: a new payment needs the one before to be declined or voided.
CREATE UNIQUE INDEX payments_one_live_an_order ON payments (order_id) WHERE status NOT IN ('DECLINED', 'VOIDED');
CREATE INDEX payments_by_user ON payments (user_id, created_at DESC);
CREATE INDEX payments_waiting ON payments (created_at) WHERE status IN ('PENDING', 'AUTHORIZED');
CREATE INDEX payments_by_method ON payments (payment_method_id);

CREATE TABLE payment_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    payment_id uuid NOT NULL,
    kind text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    succeeded boolean NOT NULL,
    gateway_reference text NOT NULL,
    gateway_response jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT payment_transactions_pkey PRIMARY KEY (id),
    CONSTRAINT payment_transactions_payment_fkey FOREIGN KEY (payment_id) REFERENCES payments,
    CONSTRAINT payment_transactions_gateway_reference_key UNIQUE (gateway_reference),
    CONSTRAINT payment_transactions_kind_is_known CHECK (kind IN ('AUTHORIZATION', 'CAPTURE', 'VOID', 'REFUND')),
    CONSTRAINT payment_transactions_amount_is_positive CHECK (amount > 0)
);

CREATE UNIQUE INDEX payment_transactions_authorized_once ON payment_transactions (payment_id)
    WHERE kind = 'AUTHORIZATION' AND succeeded;
CREATE INDEX payment_transactions_by_payment ON payment_transactions (payment_id, created_at);
CREATE INDEX payment_transactions_gateway_response ON payment_transactions USING gin (gateway_response jsonb_path_ops);

CREATE TABLE refunds (
    id uuid DEFAULT gen_random_uuid(),
    payment_id uuid NOT NULL,
    amount numeric(10, 2) NOT NULL,
    reason text NOT NULL,
    requested_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refunds_pkey PRIMARY KEY (id),
    CONSTRAINT refunds_payment_fkey FOREIGN KEY (payment_id) REFERENCES payments,
    CONSTRAINT refunds_amount_is_positive CHECK (amount > 0),
    CONSTRAINT refunds_reason_is_not_blank CHECK (btrim(reason) <> '')
);

CREATE INDEX refunds_by_payment ON refunds (payment_id);

CREATE TABLE payment_disputes (
    id uuid DEFAULT gen_random_uuid(),
    payment_id uuid NOT NULL,
    gateway_case text NOT NULL,
    reason text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL DEFAULT 'OPEN',
    answer_due_at timestamptz NOT NULL,
    resolved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_disputes_pkey PRIMARY KEY (id),
    CONSTRAINT payment_disputes_payment_fkey FOREIGN KEY (payment_id) REFERENCES payments,
    CONSTRAINT payment_disputes_gateway_case_key UNIQUE (gateway_case),
    CONSTRAINT payment_disputes_status_is_known CHECK (status IN ('OPEN', 'ANSWERED', 'WON', 'LOST')),
    CONSTRAINT payment_disputes_amount_is_positive CHECK (amount > 0),
    CONSTRAINT payment_disputes_resolved_has_a_time CHECK ((status IN ('WON', 'LOST')) = (resolved_at IS NOT NULL))
);

CREATE INDEX payment_disputes_to_answer ON payment_disputes (answer_due_at) WHERE status = 'OPEN';
CREATE INDEX payment_disputes_by_payment ON payment_disputes (payment_id);

-- A day in figures, for reports; summarize_payments fills it.
CREATE TABLE payment_analytics (
    day date,
    method_kind text,
    payments bigint NOT NULL,
    authorized bigint NOT NULL,
    declined bigint NOT NULL,
    amount numeric(14, 2) NOT NULL,
    refunded numeric(14, 2) NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_analytics_pkey PRIMARY KEY (day, method_kind),
    CONSTRAINT payment_analytics_counts_are_not_negative CHECK (least(payments, authorized, declined) >= 0)
);

CREATE TRIGGER touch BEFORE UPDATE ON payment_methods FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON payment_disputes FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- The payment's own row is changed, so two refunds take turns, and its CHECK holds their sum.
CREATE FUNCTION add_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payments
    SET refunded_amount = refunded_amount + NEW.amount,
        status = CASE WHEN refunded_amount + NEW.amount = amount THEN 'REFUNDED' ELSE 'PARTIALLY_REFUNDED' END
    WHERE id = NEW.payment_id AND status IN ('CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'payment % was not captured', NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_payment_was_captured', TABLE = 'refunds',
            HINT = 'Void it instead.';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER add_refund AFTER INSERT ON refunds FOR EACH ROW EXECUTE FUNCTION add_refund();

-- Takes the gateway's answer to a request for authorization; gives the payment's status. An answer that comes again
-- (gateways repeat themselves) changes nothing. Two answers to one payment take turns on its row.
--
-- Errors: no_data_found where there is no such payment, unique_violation for a reference that is another payment's,
-- object_not_in_prerequisite_state for a payment that waits for no answer.
CREATE FUNCTION process_payment_authorization(
    payment uuid, reference text, approved boolean, response jsonb DEFAULT '{}'
)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    paid payments;
BEGIN
    SELECT * INTO paid FROM payments WHERE id = payment FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no payment %', payment USING ERRCODE = 'no_data_found';
    END IF;
    IF EXISTS (SELECT FROM payment_transactions WHERE gateway_reference = reference AND payment_id = payment) THEN
        RETURN paid.status;
    END IF;
    IF paid.status <> 'PENDING' THEN
        RAISE EXCEPTION 'payment % is %, it waits for no authorization', payment, paid.status
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO payment_transactions (payment_id, kind, amount, succeeded, gateway_reference, gateway_response)
    VALUES (payment, 'AUTHORIZATION', paid.amount, approved, reference, response);
    UPDATE payments SET status = CASE WHEN approved THEN 'AUTHORIZED' ELSE 'DECLINED' END
    WHERE id = payment RETURNING status INTO paid.status;
    RETURN paid.status;
END
$$;

-- Figures of the payments that were begun on a day (UTC), put in the place of those of before.
CREATE FUNCTION summarize_payments(of_day date) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO payment_analytics (day, method_kind, payments, authorized, declined, amount, refunded)
    SELECT
        of_day, payment_methods.kind, count(*),
        count(*) FILTER (WHERE status NOT IN ('PENDING', 'DECLINED')),
        count(*) FILTER (WHERE status = 'DECLINED'),
        coalesce(sum(amount) FILTER (WHERE status IN ('CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED')), 0),
        sum(refunded_amount)
    FROM payments JOIN payment_methods ON payment_methods.id = payment_method_id
    WHERE payments.created_at >= of_day::timestamp AT TIME ZONE 'UTC'
        AND payments.created_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY payment_methods.kind
    ON CONFLICT (day, method_kind) DO UPDATE
    SET payments = excluded.payments, authorized = excluded.authorized, declined = excluded.declined,
        amount = excluded.amount, refunded = excluded.refunded, computed_at = now();
END;
