"""The checks of `doctor` as a list, the comparison of both systems, the report, and the repair.

Never here: a change that a command of its own would refuse.
"""
