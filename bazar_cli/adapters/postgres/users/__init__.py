"""Queries on users: reading, changing with `pending`, and identities in `auth.*`.

Never here: whether a change is allowed.
"""
