CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    email text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, email),
    UNIQUE (tenant_id, id) -- what refers to a user names its tenant, too
);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON users
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
