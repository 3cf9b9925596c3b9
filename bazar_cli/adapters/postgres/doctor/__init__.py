"""Queries that only `doctor` makes.

Never here: what a finding means.
"""
