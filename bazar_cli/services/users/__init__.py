"""Use cases on users. `two_systems` is the protocol that keeps a user the same in both systems.

Never here: SQL or HTTP; how a user is shown.
"""
