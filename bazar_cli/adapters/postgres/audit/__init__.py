"""The audit log in Postgres: events, its chain of seals, reading it, and what guards its tables.

Never here: what an event means to a use case.
"""
