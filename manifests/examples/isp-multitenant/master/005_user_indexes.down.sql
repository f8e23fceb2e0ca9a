-- servicedb: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS activity_logs_by_user;
DROP INDEX CONCURRENTLY IF EXISTS user_sessions_by_user;
DROP INDEX CONCURRENTLY IF EXISTS users_by_name;
