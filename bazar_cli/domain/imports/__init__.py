"""Imports of users: the file and its rows, the findings of the check, runs and their results.

Never here: whether an operator may write a row, which `domain/authz/row_rules.py` decides.
"""
