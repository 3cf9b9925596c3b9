"""Use cases and business rules: each gets a Grant and a request, and returns a domain result.

Never here: SQL, HTTP, a file format, the environment, anything about how a result looks.
"""
