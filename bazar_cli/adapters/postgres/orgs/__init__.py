"""Queries on organizations and memberships.

Never here: whether a change is allowed.
"""
