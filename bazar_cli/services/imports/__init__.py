"""Imports of users: check the file, stage its rows, and apply them in chunks (docs/operations.md).

Never here: a second rule for what a single command decides too.
"""
