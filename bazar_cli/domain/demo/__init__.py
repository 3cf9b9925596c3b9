"""The demo data of `db seed`: the request and its results, the built-in set, and the file that can replace it.

Never here: how the data are written.
"""
