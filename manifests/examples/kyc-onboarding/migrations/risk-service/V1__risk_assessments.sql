-- How much of a risk a case is, and what of.

CREATE TABLE risk_assessments (
    id uuid DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    partner_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'InProgress',
    score numeric(5, 2),
    risk_level text,
    -- A person may say otherwise than the score, and has to say why.
    overridden_level text,
    overridden_by text,
    override_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT risk_assessments_pkey PRIMARY KEY (id),
    CONSTRAINT risk_assessments_status_is_known CHECK (status IN ('InProgress', 'Completed', 'Rejected')),
    CONSTRAINT risk_assessments_score_is_0_to_100 CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT risk_assessments_level_is_known CHECK (risk_level IN ('Low', 'Medium', 'High', 'Critical')),
    CONSTRAINT risk_assessments_overridden_level_is_known
        CHECK (overridden_level IN ('Low', 'Medium', 'High', 'Critical')),
    CONSTRAINT risk_assessments_override_is_explained
        CHECK (num_nonnulls(overridden_level, overridden_by, override_reason) IN (0, 3)),
    CONSTRAINT risk_assessments_completed_says_it_all
        CHECK (status <> 'Completed' OR num_nulls(score, risk_level, completed_at) = 0)
);

CREATE UNIQUE INDEX risk_assessments_one_open_a_case ON risk_assessments (case_id) WHERE status = 'InProgress';
CREATE INDEX risk_assessments_by_case ON risk_assessments (case_id, created_at DESC);
CREATE INDEX risk_assessments_by_level ON risk_assessments (partner_id, risk_level) WHERE status = 'Completed';

CREATE TABLE risk_factors (
    id uuid DEFAULT gen_random_uuid(),
    assessment_id uuid NOT NULL,
    kind text NOT NULL,
    level text NOT NULL,
    score numeric(5, 2) NOT NULL,
    description text NOT NULL,
    source text NOT NULL,
    identified_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT risk_factors_pkey PRIMARY KEY (id),
    CONSTRAINT risk_factors_assessment_fkey FOREIGN KEY (assessment_id) REFERENCES risk_assessments ON DELETE CASCADE,
    CONSTRAINT risk_factors_kind_is_known
        CHECK (kind IN ('Country', 'Industry', 'PoliticalExposure', 'Sanctions', 'AdverseMedia', 'Behaviour')),
    CONSTRAINT risk_factors_level_is_known CHECK (level IN ('Low', 'Medium', 'High', 'Critical')),
    CONSTRAINT risk_factors_score_is_0_to_100 CHECK (score BETWEEN 0 AND 100)
);

CREATE INDEX risk_factors_by_assessment ON risk_factors (assessment_id);
