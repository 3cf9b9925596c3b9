"""Many changes in one run: compare the wanted state with both systems, then make each change by its use case.

Never here: a write without a separate Grant.
"""
