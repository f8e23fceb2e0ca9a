-- Nobody logs in to these with a password (see users.password_hash) before setting one; their API keys are below.
-- Run again, it puts right what was changed, and leaves other rows alone.

INSERT INTO users (id, email, full_name, password_hash, email_verified_at)
VALUES
    ('00000000-0000-4000-8000-000000000001', 'admin@kyb.example', 'Ada Admin', '!', now()),
    ('00000000-0000-4000-8000-000000000002', 'test@kyb.example', 'Tom Test', '!', now()),
    ('00000000-0000-4000-8000-000000000003', 'analyst@kyb.example', 'Ann Analyst', '!', now())
ON CONFLICT (id) DO UPDATE SET email = excluded.email, full_name = excluded.full_name, is_active = true;

INSERT INTO role_assignments (user_id, role, granted_by)
VALUES
    ('00000000-0000-4000-8000-000000000001', 'admin', NULL),
    ('00000000-0000-4000-8000-000000000002', 'viewer', '00000000-0000-4000-8000-000000000001'),
    ('00000000-0000-4000-8000-000000000003', 'analyst', '00000000-0000-4000-8000-000000000001')
ON CONFLICT (user_id, role) WHERE business_id IS NULL DO NOTHING;

-- The keys are kyb-development-admin, kyb-development-test and kyb-development-analyst: worth nothing anywhere else.
INSERT INTO api_keys (user_id, name, prefix, key_digest, scopes)
VALUES
    (
        '00000000-0000-4000-8000-000000000001', 'development', 'kyb-deve', sha256('kyb-development-admin'),
        ARRAY['read', 'write', 'admin']
    ),
    (
        '00000000-0000-4000-8000-000000000002', 'development', 'kyb-deve', sha256('kyb-development-test'),
        ARRAY['read']
    ),
    (
        '00000000-0000-4000-8000-000000000003', 'development', 'kyb-deve', sha256('kyb-development-analyst'),
        ARRAY['read', 'write']
    )
ON CONFLICT (user_id, name) DO UPDATE
SET key_digest = excluded.key_digest, scopes = excluded.scopes, revoked_at = NULL, expires_at = NULL;
