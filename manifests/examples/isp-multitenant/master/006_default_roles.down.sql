DROP TRIGGER default_roles ON tenants;
DROP FUNCTION add_default_roles();
DROP TABLE roles;
