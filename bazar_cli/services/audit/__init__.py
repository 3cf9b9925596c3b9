"""Use cases on the audit log.

Never here: the writing of an event; each use case records its own.
"""
