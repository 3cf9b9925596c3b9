"""Use cases on users, and what keeps a user the same in both systems: leases, provisioning, agreement.

Never here: SQL or HTTP; how a user is shown.
"""
