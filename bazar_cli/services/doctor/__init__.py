"""The checks of `doctor` as a list, the comparison of both systems, the report, and the repair.

Never here: a change that the command for it would refuse.
"""
