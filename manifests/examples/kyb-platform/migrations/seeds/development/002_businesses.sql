-- A business of each level of risk, with the assessment that says so.

INSERT INTO businesses (id, legal_name, registration_number, country, status, risk_level, created_by)
VALUES
    (
        '00000000-0000-4000-8000-000000000101', 'Low Risk Bakery Ltd', 'DEV-0001', 'GB', 'approved', 'low',
        '00000000-0000-4000-8000-000000000003'
    ),
    (
        '00000000-0000-4000-8000-000000000102', 'Medium Risk Trading GmbH', 'DEV-0002', 'DE', 'in_review', 'medium',
        '00000000-0000-4000-8000-000000000003'
    ),
    (
        '00000000-0000-4000-8000-000000000103', 'High Risk Exchange Inc', 'DEV-0003', 'US', 'in_review', 'high',
        '00000000-0000-4000-8000-000000000003'
    ),
    (
        '00000000-0000-4000-8000-000000000104', 'Critical Risk Holdings SA', 'DEV-0004', 'PA', 'rejected', 'critical',
        '00000000-0000-4000-8000-000000000003'
    )
ON CONFLICT (id) DO UPDATE
SET legal_name = excluded.legal_name, status = excluded.status, risk_level = excluded.risk_level;

INSERT INTO risk_assessments (id, business_id, assessed_by, score, model_version)
SELECT
    overlay('00000000-0000-4000-8000-000000000200' PLACING number::text FROM 36)::uuid,
    overlay('00000000-0000-4000-8000-000000000100' PLACING number::text FROM 36)::uuid,
    '00000000-0000-4000-8000-000000000003', score, 'development'
FROM (VALUES (1, 10), (2, 45), (3, 70), (4, 95)) AS assessed (number, score)
ON CONFLICT (id) DO UPDATE SET score = excluded.score;

INSERT INTO compliance_checks (id, business_id, kind, status, completed_at)
VALUES
    (
        '00000000-0000-4000-8000-000000000301', '00000000-0000-4000-8000-000000000101', 'sanctions', 'passed', now()
    ),
    (
        '00000000-0000-4000-8000-000000000302', '00000000-0000-4000-8000-000000000103', 'adverse_media', 'review', now()
    ),
    (
        '00000000-0000-4000-8000-000000000303', '00000000-0000-4000-8000-000000000104', 'sanctions', 'failed', now()
    )
ON CONFLICT (id) DO UPDATE SET status = excluded.status;
