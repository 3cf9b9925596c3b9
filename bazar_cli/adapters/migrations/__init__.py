"""Alembic run by bazar: the migration lock, revisions one by one, the log, rollback and reset.

Never here: a revision itself; those are in `migrations/versions`.
"""
