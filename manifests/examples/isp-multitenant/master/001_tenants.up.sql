-- A session sees the tenant that it names: SET LOCAL app.current_tenant_id = '...' in each transaction. Without one it sees
-- none. Row-level security passes over the owner of the tables, whom migrations work as.
CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL GENERATED ALWAYS AS (id) STORED,
    schema_name text NOT NULL UNIQUE CHECK (schema_name ~ '^tenant_[a-z0-9_]+$'),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON tenants
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
