-- What is said to whom, on which way, and whether it got there.

CREATE TABLE notifications (
    id uuid DEFAULT gen_random_uuid(),
    case_id uuid,
    recipient text NOT NULL,
    channel text NOT NULL,
    template text NOT NULL,
    values jsonb NOT NULL DEFAULT '{}',
    priority text NOT NULL DEFAULT 'Normal',
    status text NOT NULL DEFAULT 'Pending',
    attempts smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    error text,
    -- The same event that comes twice notifies once.
    deduplication_key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT notifications_pkey PRIMARY KEY (id),
    CONSTRAINT notifications_deduplication_key UNIQUE (deduplication_key),
    CONSTRAINT notifications_channel_is_known CHECK (channel IN ('Email', 'Sms', 'Push', 'InApp')),
    CONSTRAINT notifications_priority_is_known CHECK (priority IN ('Low', 'Normal', 'High', 'Critical')),
    CONSTRAINT notifications_status_is_known CHECK (status IN ('Pending', 'Sent', 'Failed', 'Cancelled')),
    CONSTRAINT notifications_sent_has_a_time CHECK ((status = 'Sent') = (sent_at IS NOT NULL)),
    CONSTRAINT notifications_attempts_are_bounded CHECK (attempts BETWEEN 0 AND 10)
);

CREATE INDEX notifications_due ON notifications (due_at) WHERE status = 'Pending';
CREATE INDEX notifications_by_case ON notifications (case_id, created_at DESC) WHERE case_id IS NOT NULL;
CREATE INDEX notifications_by_recipient ON notifications (recipient, created_at DESC);
