-- Before a dump: new sessions are read-only, and the others end. docs/docker.md
SELECT current_database() AS name \gset
ALTER DATABASE :"name" SET default_transaction_read_only = on;
SELECT count(pg_terminate_backend(pid)) AS ended_sessions
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
