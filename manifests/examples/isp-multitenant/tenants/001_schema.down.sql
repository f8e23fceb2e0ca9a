DROP TABLE invoices, subscribers, plans;
DELETE FROM public.tenants WHERE schema_name = current_schema();
