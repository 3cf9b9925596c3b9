"""Queries on users: reading within reach, changing what is pending, and identities in `auth.*`.

Never here: whether a change is allowed.
"""
