"""Entities, requests, use-case specs, permissions and row rules, as frozen dataclasses and pure functions.

Never here: input or output of any kind, and no library but the standard one.
"""
