-- Somebody who is to become a customer of a partner: the case, who applies, and where they live.

CREATE TABLE onboarding_cases (
    id uuid DEFAULT gen_random_uuid(),
    partner_id uuid NOT NULL,
    reference text NOT NULL,
    type text NOT NULL,
    status text NOT NULL DEFAULT 'Draft',
    assigned_to text,
    submitted_at timestamptz,
    decided_at timestamptz,
    decided_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- Of optimistic locking: an update names the version that it has read.
    version integer NOT NULL DEFAULT 1,
    CONSTRAINT onboarding_cases_pkey PRIMARY KEY (id),
    CONSTRAINT onboarding_cases_reference_key UNIQUE (partner_id, reference),
    CONSTRAINT onboarding_cases_type_is_known CHECK (type IN ('Individual', 'Corporate', 'Trust', 'Partnership')),
    CONSTRAINT onboarding_cases_status_is_known
        CHECK (status IN ('Draft', 'Submitted', 'InReview', 'InformationRequested', 'Approved', 'Rejected', 'Withdrawn')),
    CONSTRAINT onboarding_cases_submitted_has_a_time
        CHECK (status IN ('Draft', 'Withdrawn') OR submitted_at IS NOT NULL),
    CONSTRAINT onboarding_cases_decided_has_a_name
        CHECK ((status IN ('Approved', 'Rejected')) = (decided_at IS NOT NULL AND decided_by IS NOT NULL)),
    CONSTRAINT onboarding_cases_version_is_positive CHECK (version > 0)
);

CREATE TABLE applicants (
    id uuid DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    role text NOT NULL DEFAULT 'Primary',
    first_name text NOT NULL,
    last_name text NOT NULL,
    date_of_birth date NOT NULL,
    nationality text NOT NULL,
    email text NOT NULL,
    phone text,
    tax_identifier text,
    is_politically_exposed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT applicants_pkey PRIMARY KEY (id),
    CONSTRAINT applicants_case_fkey FOREIGN KEY (case_id) REFERENCES onboarding_cases ON DELETE CASCADE,
    CONSTRAINT applicants_role_is_known CHECK (role IN ('Primary', 'Joint', 'BeneficialOwner', 'Director')),
    CONSTRAINT applicants_are_of_age CHECK (date_of_birth <= created_at AT TIME ZONE 'UTC' - interval '18 years'),
    CONSTRAINT applicants_nationality_is_two_letters CHECK (nationality ~ '^[A-Z]{2}$'),
    CONSTRAINT applicants_email_has_an_at CHECK (email ~ '^[^@\s]+@[^@\s]+$')
);

CREATE UNIQUE INDEX applicants_one_primary ON applicants (case_id) WHERE role = 'Primary';
CREATE INDEX applicants_by_case ON applicants (case_id);

CREATE TABLE addresses (
    id uuid DEFAULT gen_random_uuid(),
    applicant_id uuid NOT NULL,
    kind text NOT NULL DEFAULT 'Residential',
    line_1 text NOT NULL,
    line_2 text,
    city text NOT NULL,
    postal_code text NOT NULL,
    country text NOT NULL,
    valid_from date NOT NULL,
    valid_until date,
    CONSTRAINT addresses_pkey PRIMARY KEY (id),
    CONSTRAINT addresses_applicant_fkey FOREIGN KEY (applicant_id) REFERENCES applicants ON DELETE CASCADE,
    CONSTRAINT addresses_kind_is_known CHECK (kind IN ('Residential', 'Mailing', 'Business')),
    CONSTRAINT addresses_country_is_two_letters CHECK (country ~ '^[A-Z]{2}$'),
    CONSTRAINT addresses_end_later CHECK (valid_until > valid_from)
);

CREATE UNIQUE INDEX addresses_one_of_a_kind_at_present ON addresses (applicant_id, kind) WHERE valid_until IS NULL;
