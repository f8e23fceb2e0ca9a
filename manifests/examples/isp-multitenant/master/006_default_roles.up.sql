CREATE TABLE roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name text NOT NULL,
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
ALTER TABLE roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON roles
    USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

CREATE FUNCTION add_default_roles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.roles (tenant_id, name, permissions) VALUES
        (new.id, 'administrator', '{users,plans,subscribers,invoices}'),
        (new.id, 'billing', '{subscribers,invoices}'),
        (new.id, 'support', '{subscribers}');
    RETURN NULL;
END $$;
CREATE TRIGGER default_roles AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION add_default_roles();
