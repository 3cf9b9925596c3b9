"""Use cases on plans and the permission table.

Never here: a decision of the gate; it reads the table itself.
"""
