-- servicedb: requires master/6
-- In the schema of a tenant, which is its entry in public.tenants.
INSERT INTO public.tenants (schema_name, name)
VALUES (current_schema(), initcap(replace(current_schema(), '_', ' ')));

CREATE TABLE plans (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants,
    name text NOT NULL,
    megabits integer NOT NULL CHECK (megabits > 0),
    monthly numeric(10, 2) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON plans
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

CREATE TABLE subscribers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants,
    plan_id uuid NOT NULL,
    name text NOT NULL,
    address text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id)
);
ALTER TABLE subscribers ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON subscribers
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

CREATE TABLE invoices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants,
    subscriber_id uuid NOT NULL,
    month date NOT NULL,
    amount numeric(10, 2) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, subscriber_id, month),
    FOREIGN KEY (tenant_id, subscriber_id) REFERENCES subscribers (tenant_id, id)
);
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON invoices
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
