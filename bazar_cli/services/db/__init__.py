"""Use cases on the database itself: migrate, rollback, reset, locks, create and drop.

Never here: Alembic; `adapters.migrations` runs it.
"""
