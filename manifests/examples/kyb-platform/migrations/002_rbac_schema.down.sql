DROP FUNCTION holds_role(uuid, text, uuid);
DROP TABLE role_assignments;
