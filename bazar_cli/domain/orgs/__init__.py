"""Requests, results and specs of organizations and members.

Never here: a row rule.
"""
