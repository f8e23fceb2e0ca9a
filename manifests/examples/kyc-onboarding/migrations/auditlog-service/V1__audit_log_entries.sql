-- Who did what, for as long as the law wants it. The application adds and reads and does nothing else: its ServiceDatabase
-- says so under spec.roles.app.overrides.

CREATE TABLE audit_log_entries (
    id uuid DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    case_id uuid,
    actor text NOT NULL,
    actor_role text,
    action text NOT NULL,
    severity text NOT NULL DEFAULT 'Information',
    details jsonb NOT NULL DEFAULT '{}',
    client_address inet,
    correlation_id text,
    occurred_at timestamptz NOT NULL,
    -- When it came here, by this server's clock and whatever the sender says.
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_log_entries_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_entries_severity_is_known
        CHECK (severity IN ('Information', 'Warning', 'Security', 'Critical')),
    CONSTRAINT audit_log_entries_actor_is_not_blank CHECK (btrim(actor) <> '')
);

CREATE INDEX audit_log_entries_by_entity ON audit_log_entries (entity_type, entity_id, occurred_at DESC);
CREATE INDEX audit_log_entries_by_case ON audit_log_entries (case_id, occurred_at DESC) WHERE case_id IS NOT NULL;
CREATE INDEX audit_log_entries_by_actor ON audit_log_entries (actor, occurred_at DESC);
CREATE INDEX audit_log_entries_by_time ON audit_log_entries USING brin (recorded_at);
