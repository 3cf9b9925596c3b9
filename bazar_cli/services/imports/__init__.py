"""Imports of users: a file is checked, staged in Postgres, applied to both systems (docs/operations.md)."""
