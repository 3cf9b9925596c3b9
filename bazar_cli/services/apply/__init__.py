"""Many changes in one run: compare what is wanted with what is there, then make each change by its own use case.

Never here: a write without a Grant of its own.
"""
