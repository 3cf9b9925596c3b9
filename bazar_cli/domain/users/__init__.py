"""Requests, results and specs of users, their sessions and their identities.

Never here: the entities `User` and `Organization`; the row rules need them below.
"""
