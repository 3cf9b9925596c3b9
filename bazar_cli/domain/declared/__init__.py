"""Declared state: the file of `diff` and `apply`, its values, and the changes that it asks for.

Never here: the syntax of YAML or JSON, and a query.
"""
