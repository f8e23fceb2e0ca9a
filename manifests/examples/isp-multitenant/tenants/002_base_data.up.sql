INSERT INTO plans (tenant_id, name, megabits, monthly)
SELECT tenants.id, base.name, base.megabits, base.monthly
FROM public.tenants,
     (VALUES ('Home', 50, 29.90), ('Home Fast', 250, 39.90), ('Business', 1000, 99.00)) AS base (name, megabits, monthly)
WHERE tenants.schema_name = current_schema();
