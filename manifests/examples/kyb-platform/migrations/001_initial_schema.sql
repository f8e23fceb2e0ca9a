-- Businesses that are to be known before they are dealt with: who looks at them, what is found, and what was decided.
--
-- Taken back, this would be the end of all data: there is no way down from here.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE users (
    id uuid DEFAULT gen_random_uuid(),
    email text NOT NULL,
    full_name text NOT NULL,
    -- As the application's library writes it, with its salt. What it can't read, such as '!', no password opens.
    password_hash text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    email_verified_at timestamptz,
    last_login_at timestamptz,
    failed_logins integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_has_an_at CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    CONSTRAINT users_full_name_is_not_blank CHECK (btrim(full_name) <> ''),
    CONSTRAINT users_failed_logins_are_not_negative CHECK (failed_logins >= 0)
);

-- One account an address, however it is written.
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE businesses (
    id uuid DEFAULT gen_random_uuid(),
    legal_name text NOT NULL,
    registration_number text NOT NULL,
    country text NOT NULL,
    website text,
    address jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'pending',
    risk_level text,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT businesses_pkey PRIMARY KEY (id),
    CONSTRAINT businesses_registration_key UNIQUE (country, registration_number),
    CONSTRAINT businesses_created_by_fkey FOREIGN KEY (created_by) REFERENCES users ON DELETE SET NULL,
    CONSTRAINT businesses_country_is_two_letters CHECK (country ~ '^[A-Z]{2}$'),
    CONSTRAINT businesses_status_is_known CHECK (status IN ('pending', 'in_review', 'approved', 'rejected', 'suspended')),
    CONSTRAINT businesses_risk_level_is_known CHECK (risk_level IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT businesses_approved_were_assessed CHECK (status <> 'approved' OR risk_level IS NOT NULL),
    CONSTRAINT businesses_legal_name_is_not_blank CHECK (btrim(legal_name) <> '')
);

CREATE TABLE business_classifications (
    id uuid DEFAULT gen_random_uuid(),
    business_id uuid NOT NULL,
    scheme text NOT NULL,
    code text NOT NULL,
    description text NOT NULL DEFAULT '',
    confidence numeric(4, 3) NOT NULL,
    is_primary boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT business_classifications_pkey PRIMARY KEY (id),
    CONSTRAINT business_classifications_business_fkey FOREIGN KEY (business_id) REFERENCES businesses ON DELETE CASCADE,
    CONSTRAINT business_classifications_code_key UNIQUE (business_id, scheme, code),
    CONSTRAINT business_classifications_scheme_is_known CHECK (scheme IN ('NAICS', 'SIC', 'MCC', 'NACE')),
    CONSTRAINT business_classifications_code_is_digits CHECK (code ~ '^[0-9.]{2,8}$'),
    CONSTRAINT business_classifications_confidence_is_a_share CHECK (confidence BETWEEN 0 AND 1)
);

CREATE UNIQUE INDEX business_classifications_one_primary ON business_classifications (business_id, scheme)
    WHERE is_primary;

CREATE TABLE risk_assessments (
    id uuid DEFAULT gen_random_uuid(),
    business_id uuid NOT NULL,
    assessed_by uuid,
    score smallint NOT NULL,
    -- Said by the score, so that the two can't disagree.
    risk_level text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN score < 30 THEN 'low' WHEN score < 60 THEN 'medium' WHEN score < 85 THEN 'high' ELSE 'critical' END
    ) STORED,
    factors jsonb NOT NULL DEFAULT '[]',
    model_version text NOT NULL,
    assessed_at timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz NOT NULL DEFAULT now() + interval '1 year',
    CONSTRAINT risk_assessments_pkey PRIMARY KEY (id),
    CONSTRAINT risk_assessments_business_fkey FOREIGN KEY (business_id) REFERENCES businesses ON DELETE CASCADE,
    CONSTRAINT risk_assessments_assessed_by_fkey FOREIGN KEY (assessed_by) REFERENCES users ON DELETE SET NULL,
    CONSTRAINT risk_assessments_score_is_0_to_100 CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT risk_assessments_factors_are_a_list CHECK (jsonb_typeof(factors) = 'array'),
    CONSTRAINT risk_assessments_end_later CHECK (valid_until > assessed_at)
);

CREATE TABLE compliance_checks (
    id uuid DEFAULT gen_random_uuid(),
    business_id uuid NOT NULL,
    kind text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    details jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT compliance_checks_pkey PRIMARY KEY (id),
    CONSTRAINT compliance_checks_business_fkey FOREIGN KEY (business_id) REFERENCES businesses ON DELETE CASCADE,
    CONSTRAINT compliance_checks_kind_is_known
        CHECK (kind IN ('sanctions', 'pep', 'adverse_media', 'registry', 'ownership')),
    CONSTRAINT compliance_checks_status_is_known CHECK (status IN ('pending', 'passed', 'failed', 'review')),
    CONSTRAINT compliance_checks_ended_has_a_time CHECK ((status = 'pending') = (completed_at IS NULL)),
    CONSTRAINT compliance_checks_end_later CHECK (completed_at >= started_at)
);

-- One of a kind is under way at a time.
CREATE UNIQUE INDEX compliance_checks_one_pending ON compliance_checks (business_id, kind) WHERE status = 'pending';

CREATE TABLE api_keys (
    id uuid DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    name text NOT NULL,
    -- The key itself is shown once, when it is made: its first letters are for people, its digest is for the application.
    prefix text NOT NULL,
    key_digest bytea NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT api_keys_name_key UNIQUE (user_id, name),
    CONSTRAINT api_keys_digest_key UNIQUE (key_digest),
    CONSTRAINT api_keys_digest_is_sha256 CHECK (length(key_digest) = 32),
    CONSTRAINT api_keys_prefix_is_short CHECK (length(prefix) BETWEEN 4 AND 12),
    CONSTRAINT api_keys_scopes_are_known CHECK (scopes <@ ARRAY['read', 'write', 'admin'])
);

CREATE TABLE audit_logs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id uuid,
    api_key_id uuid,
    action text NOT NULL,
    resource_type text NOT NULL,
    resource_id uuid,
    details jsonb NOT NULL DEFAULT '{}',
    client_address inet,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_logs_pkey PRIMARY KEY (id),
    CONSTRAINT audit_logs_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE SET NULL,
    CONSTRAINT audit_logs_api_key_fkey FOREIGN KEY (api_key_id) REFERENCES api_keys ON DELETE SET NULL,
    CONSTRAINT audit_logs_action_is_not_blank CHECK (btrim(action) <> '')
);

CREATE TABLE external_service_calls (
    id bigint GENERATED ALWAYS AS IDENTITY,
    business_id uuid,
    service text NOT NULL,
    endpoint text NOT NULL,
    response_code smallint,
    milliseconds integer NOT NULL,
    error text,
    called_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT external_service_calls_pkey PRIMARY KEY (id),
    CONSTRAINT external_service_calls_business_fkey FOREIGN KEY (business_id) REFERENCES businesses ON DELETE SET NULL,
    CONSTRAINT external_service_calls_code_is_of_http CHECK (response_code BETWEEN 100 AND 599),
    CONSTRAINT external_service_calls_time_is_not_negative CHECK (milliseconds >= 0),
    CONSTRAINT external_service_calls_ended_somehow CHECK (response_code IS NOT NULL OR error IS NOT NULL)
);

-- Of tokens that are sent by mail, the digest: who reads this table can't use one.
CREATE TABLE email_verification_tokens (
    token_digest bytea,
    user_id uuid NOT NULL,
    email text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    used_at timestamptz,
    CONSTRAINT email_verification_tokens_pkey PRIMARY KEY (token_digest),
    CONSTRAINT email_verification_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT email_verification_tokens_digest_is_sha256 CHECK (length(token_digest) = 32),
    CONSTRAINT email_verification_tokens_live_a_day
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '24 hours'),
    CONSTRAINT email_verification_tokens_used_in_time CHECK (used_at <= expires_at)
);

CREATE TABLE password_reset_tokens (
    token_digest bytea,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '1 hour',
    used_at timestamptz,
    CONSTRAINT password_reset_tokens_pkey PRIMARY KEY (token_digest),
    CONSTRAINT password_reset_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT password_reset_tokens_digest_is_sha256 CHECK (length(token_digest) = 32),
    CONSTRAINT password_reset_tokens_live_an_hour
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '1 hour'),
    CONSTRAINT password_reset_tokens_used_in_time CHECK (used_at <= expires_at)
);

-- Tokens of sessions that were ended before their time, until that is over.
CREATE TABLE token_blacklist (
    token_id uuid,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT token_blacklist_pkey PRIMARY KEY (token_id),
    CONSTRAINT token_blacklist_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT token_blacklist_reason_is_known CHECK (reason IN ('logout', 'password_changed', 'revoked'))
);

CREATE TABLE webhooks (
    id uuid DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    url text NOT NULL,
    -- Where the signing key is kept, never the key.
    secret_reference text NOT NULL,
    event_types text[] NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhooks_pkey PRIMARY KEY (id),
    CONSTRAINT webhooks_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT webhooks_url_key UNIQUE (user_id, url),
    CONSTRAINT webhooks_url_is_secure CHECK (url LIKE 'https://%'),
    CONSTRAINT webhooks_ask_for_something CHECK (cardinality(event_types) > 0)
);

CREATE TABLE webhook_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    webhook_id uuid NOT NULL,
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    attempts smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT now(),
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_webhook_fkey FOREIGN KEY (webhook_id) REFERENCES webhooks ON DELETE CASCADE,
    CONSTRAINT webhook_events_status_is_known CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_events_ten_attempts CHECK (attempts BETWEEN 0 AND 10),
    CONSTRAINT webhook_events_pending_has_a_next CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT webhook_events_delivered_has_a_time CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
);

CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON businesses FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON webhooks FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- What was applied, for the application to show. The history itself is out of its reach, and stays so: PostgreSQL passes
-- no write through a view with WITH in front, while through a plain one whoever may write the view could rewrite the
-- history.
CREATE VIEW migrations AS
WITH applied AS (
    SELECT key AS version, name, applied_at, milliseconds
    FROM servicedb_migrations.history
    WHERE set_name = 'default' AND schema_name = '' AND state = 'applied' AND key NOT LIKE 'seed:%'
)
SELECT version, name, applied_at, milliseconds FROM applied;
