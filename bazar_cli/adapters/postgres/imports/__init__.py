"""Queries on runs of imports, their rows, and the users that come of them: always for many rows at once.

Never here: whether a row may be written.
"""
