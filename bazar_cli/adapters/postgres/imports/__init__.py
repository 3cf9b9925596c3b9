"""Imports in Postgres: the temporary tables of a check, and the tables of runs and rows."""
