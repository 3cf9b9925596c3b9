"""One module for each command: its help text, its options, one call to a service, one call to show the result.

Never here: a query, a business rule, an import of another command or of an adapter.
"""
