-- Everything that a list of cases shows, in one row a case: written from the other services' events, read by many.

CREATE TABLE onboarding_case_projections (
    id uuid,
    partner_id uuid NOT NULL,
    partner_name text NOT NULL DEFAULT '',
    reference text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    previous_status text,
    status_changed_at timestamptz,
    priority text NOT NULL DEFAULT 'Normal',
    assigned_to text,
    assigned_to_name text,
    assigned_at timestamptz,
    applicant_first_name text,
    applicant_last_name text,
    applicant_email text,
    applicant_phone text,
    applicant_date_of_birth date,
    applicant_nationality text,
    applicant_country text,
    business_name text,
    business_registration_number text,
    business_country text,
    business_industry text,
    beneficial_owner_count integer NOT NULL DEFAULT 0,
    checklist_id uuid,
    checklist_status text,
    checklist_total_items integer NOT NULL DEFAULT 0,
    checklist_completed_items integer NOT NULL DEFAULT 0,
    checklist_required_items integer NOT NULL DEFAULT 0,
    checklist_completion numeric(5, 2) NOT NULL DEFAULT 0,
    risk_assessment_id uuid,
    risk_level text,
    risk_score numeric(5, 2),
    risk_factor_count integer NOT NULL DEFAULT 0,
    risk_assessed_at timestamptz,
    document_count integer NOT NULL DEFAULT 0,
    verified_document_count integer NOT NULL DEFAULT 0,
    requires_manual_review boolean NOT NULL DEFAULT false,
    manual_review_reason text,
    decision_reason text,
    submitted_at timestamptz,
    decided_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    -- The number of the last event that is in here: an older one that comes late changes nothing.
    last_event_number bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT onboarding_case_projections_pkey PRIMARY KEY (id),
    CONSTRAINT onboarding_case_projections_checklist_adds_up
        CHECK (checklist_completed_items BETWEEN 0 AND checklist_total_items),
    CONSTRAINT onboarding_case_projections_completion_is_a_percentage CHECK (checklist_completion BETWEEN 0 AND 100),
    CONSTRAINT onboarding_case_projections_documents_add_up
        CHECK (verified_document_count BETWEEN 0 AND document_count),
    CONSTRAINT onboarding_case_projections_risk_level_is_known
        CHECK (risk_level IN ('Low', 'Medium', 'High', 'Critical'))
);

CREATE INDEX idx_case_projections_partner_id ON onboarding_case_projections (partner_id);
CREATE INDEX idx_case_projections_status ON onboarding_case_projections (status);
CREATE INDEX idx_case_projections_risk_level ON onboarding_case_projections (risk_level);
CREATE INDEX idx_case_projections_assigned_to ON onboarding_case_projections (assigned_to);
CREATE INDEX idx_case_projections_created_at ON onboarding_case_projections (created_at DESC);
CREATE INDEX idx_case_projections_updated_at ON onboarding_case_projections (updated_at DESC);
-- The few that wait for a person.
CREATE INDEX idx_case_projections_requires_manual_review ON onboarding_case_projections (requires_manual_review)
    WHERE requires_manual_review;
CREATE INDEX idx_case_projections_partner_status_created
    ON onboarding_case_projections (partner_id, status, created_at DESC);
CREATE INDEX idx_case_projections_status_risk_created
    ON onboarding_case_projections (status, risk_level, created_at DESC);
CREATE INDEX idx_case_projections_assigned_status_created
    ON onboarding_case_projections (assigned_to, status, created_at DESC);
