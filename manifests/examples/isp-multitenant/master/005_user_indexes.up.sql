-- servicedb: no-transaction
CREATE INDEX CONCURRENTLY users_by_name ON users (tenant_id, lower(name));
CREATE INDEX CONCURRENTLY user_sessions_by_user ON user_sessions (tenant_id, user_id, expires_at);
CREATE INDEX CONCURRENTLY activity_logs_by_user ON activity_logs (tenant_id, user_id, created_at);
