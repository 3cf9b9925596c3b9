"""The demo data of `db seed`: what is wanted, the built-in set, and the file that replaces it.

Never here: how it is made.
"""
